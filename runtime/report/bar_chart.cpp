#include "runtime/report/bar_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "runtime/core/memory.h"
#include "runtime/report/axis.h"
#include "runtime/report/markup.h"

namespace annulus {
namespace {

constexpr double kWidth = 560, kHeight = 250, kLeft = 62, kRight = 10, kTop = 12, kBottom = 44;
constexpr double kBarWidth = 760, kBarLeft = 92, kBarRight = 92, kBar = 30, kBarGap = 12;

std::string legend(const std::vector<Part>& parts) {
  std::string html;
  for (const Part& part : parts)
    if (!part.name.empty())
      html +=
          fmt::format("<span class=\"key\"><i class=\"swatch {}\"></i>{}</span>", part.css_class, escaped(part.name));
  return html;
}

double sum_of(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

std::string column(const ColumnChart& chart, size_t index, double x, double width, const Axis& y) {
  std::string svg;
  double below = 0.0;
  for (size_t part = 0; part < chart.parts.size(); ++part) {
    const double value = chart.values[index][part], top = y.place_of(below + value), bottom = y.place_of(below);
    const std::string name = chart.parts[part].name.empty() ? chart.y_name : chart.parts[part].name;
    if (bottom - top > 0.05)
      svg += svg_rect(x, top, width, bottom - top, chart.parts[part].css_class,
                      fmt::format("rank {}: {} {}", chart.ranks[index], name, short_number(value)));
    below += value;
  }
  return svg;
}

}  // namespace

std::string column_chart(const ColumnChart& chart) {
  double highest = 0.0;
  for (const std::vector<double>& values : chart.values) highest = std::max(highest, sum_of(values));
  const Axis y = {.low = 0.0, .high = highest > 0.0 ? highest : 1.0, .from = kHeight - kBottom, .to = kTop};
  std::string html = fmt::format("<figure><figcaption><b>{}</b> {}{}</figcaption>\n", escaped(chart.title),
                                 escaped(chart.y_name), legend(chart.parts));
  html += svg_begin(kWidth, kHeight, chart.title);
  for (const Tick& tick : linear_ticks(y.low, y.high, 6))
    html += svg_line(kLeft, y.place_of(tick.value), kWidth - kRight, y.place_of(tick.value), "grid") +
            svg_text(kLeft - 7, y.place_of(tick.value) + 4, "end", tick.label);
  const size_t count = chart.values.size(), every = (count + 15) / 16;
  const double step = (kWidth - kLeft - kRight) / static_cast<double>(std::max<size_t>(count, 3));
  const double width = count > 100 ? step : std::min(0.8 * step, 70.0);
  for (size_t i = 0; i < count; ++i) {
    const double x = kLeft + (static_cast<double>(i) + 0.5) * step;
    html += column(chart, i, x - 0.5 * width, width, y);
    if (i % every == 0) html += svg_text(x, y.from + 19, "middle", std::to_string(chart.ranks[i]));
  }
  html += svg_line(kLeft, y.from, kWidth - kRight, y.from, "axis");
  return html + svg_text(0.5 * (kLeft + kWidth - kRight), kHeight - 5, "middle", "rank", "name") + "</svg></figure>\n";
}

std::string byte_bars(const std::string& title, const std::vector<ByteBar>& bars) {
  int64_t most = 1;
  std::vector<Part> parts;
  for (const ByteBar& bar : bars) {
    int64_t sum = 0;
    for (const auto& [part, bytes] : bar.parts) {
      sum += bytes;
      parts.push_back({fmt::format("{} {}", part.name, human_bytes(bytes)), part.css_class});
    }
    most = std::max(most, sum);
  }
  const Axis x = {.low = 0.0, .high = static_cast<double>(most), .from = kBarLeft, .to = kBarWidth - kBarRight};
  std::string html =
      fmt::format("<figure class=\"wide\"><figcaption><b>{}</b> {}</figcaption>\n", escaped(title), legend(parts));
  html += svg_begin(kBarWidth, static_cast<double>(bars.size()) * (kBar + kBarGap), title);
  double y = 0.5 * kBarGap;
  for (const ByteBar& bar : bars) {
    double at = 0.0;
    html += svg_text(kBarLeft - 8, y + 20, "end", bar.name);
    for (const auto& [part, bytes] : bar.parts) {
      const double from = x.place_of(at), to = x.place_of(at += static_cast<double>(bytes));
      html += svg_rect(from, y, to - from, kBar, part.css_class, fmt::format("{} {}", part.name, human_bytes(bytes)));
    }
    html += svg_text(x.place_of(at) + 8, y + 20, "start", human_bytes(static_cast<int64_t>(at)));
    y += kBar + kBarGap;
  }
  return html + "</svg></figure>\n";
}

}  // namespace annulus
