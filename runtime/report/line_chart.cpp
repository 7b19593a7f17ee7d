#include "runtime/report/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/report/axis.h"
#include "runtime/report/markup.h"

namespace annulus {
namespace {

constexpr double kWidth = 560, kHeight = 280, kLeft = 62, kRight = 22, kTop = 12, kBottom = 44;
constexpr int kHoverColumns = 60;

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void include(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

template <class Value>
Range range_of(const std::vector<Line>& lines, Value&& value) {
  Range range;
  for (const Line& line : lines)
    for (const Point& point : line.points) value(range, point);
  return range;
}

void include_y(Range& range, const Point& point) {
  if (!std::isfinite(point.y)) return;
  range.include(point.low);
  range.include(point.high);
}

// A little air above and below, and never nothing in between.
Axis y_axis(const LineChart& chart, Range range) {
  Axis axis = {.from = kHeight - kBottom, .to = kTop};
  if (chart.scale == Scale::kLogWhereItHelps && wants_logarithm(chart.lines)) {
    axis.logarithmic = true;
    axis.low = range.low / 1.1;
    axis.high = range.high * 1.1;
    return axis;
  }
  if (chart.scale == Scale::kFromZero) range.include(0.0);
  const double size = std::max(std::abs(range.low), std::abs(range.high));
  const double air = std::max({0.06 * (range.high - range.low), 1e-3 * size, 1e-30});
  axis.low = chart.scale == Scale::kFromZero && range.low == 0.0 ? 0.0 : range.low - air;
  axis.high = range.high + air;
  return axis;
}

Axis x_axis(Range range) {
  if (range.low == range.high) range = {range.low - 1.0, range.high + 1.0};
  return {.low = range.low, .high = range.high, .from = kLeft, .to = kWidth - kRight};
}

std::string grid(const LineChart& chart, const Axis& x, const Axis& y) {
  std::string svg;
  for (const Tick& tick : y.logarithmic ? log_ticks(y.low, y.high, 6) : linear_ticks(y.low, y.high, 6)) {
    const double at = y.place_of(tick.value);
    svg += svg_line(x.from, at, x.to, at, "grid") + svg_text(x.from - 7, at + 4, "end", tick.label);
  }
  const int whole = static_cast<int>(std::clamp(x.high - x.low + 1.0, 1.0, 6.0));  // steps and positions are whole
  for (const Tick& tick : linear_ticks(x.low, x.high, whole)) {
    const double at = x.place_of(tick.value);
    svg += svg_line(at, y.from, at, y.from + 5, "axis") + svg_text(at, y.from + 19, "middle", tick.label);
  }
  svg += svg_line(x.from, y.from, x.to, y.from, "axis");
  return svg + svg_text(0.5 * (x.from + x.to), kHeight - 5, "middle", chart.x_name, "name");
}

std::string place(const Axis& x, const Axis& y, double at, double value) {
  return coordinate(x.place_of(at)) + "," + coordinate(y.place_of(value));
}

// Pieces between gaps, each a band and a line through it; a piece of one point is a dot.
std::string curve(const Line& line, const Axis& x, const Axis& y) {
  std::string svg;
  const std::vector<Point>& points = line.points;
  for (size_t begin = 0, end; begin < points.size(); begin = end + 1) {
    for (end = begin; end < points.size() && std::isfinite(points[end].y);) ++end;
    if (end - begin == 1)
      svg +=
          fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"3\" class=\"{}\"/>\n", coordinate(x.place_of(points[begin].x)),
                      coordinate(y.place_of(points[begin].y)), line.css_class);
    if (end - begin < 2) continue;
    std::string upper, lower, middle;
    bool has_band = false;
    for (size_t i = begin; i < end; ++i) {
      const Point &point = points[i], &mirrored = points[begin + end - 1 - i];
      upper += " " + place(x, y, point.x, point.high);
      lower += " " + place(x, y, mirrored.x, mirrored.low);
      middle += " " + place(x, y, point.x, point.y);
      has_band = has_band || point.low < point.high;
    }
    if (has_band)
      svg += fmt::format("<polygon points=\"{}{}\" class=\"band {}\"/>\n", upper.substr(1), lower, line.css_class);
    svg += fmt::format("<polyline points=\"{}\" class=\"line {}\"/>\n", middle.substr(1), line.css_class);
  }
  return svg;
}

std::string value_text(const LineChart& chart, const Line& line, const Point& point) {
  std::string text = fmt::format("{} {}: {} {}", chart.x_name, grouped(std::llround(point.x)),
                                 line.name.empty() ? chart.y_name : line.name, short_number(point.y));
  if (point.low < point.high) text += fmt::format(" ({} to {})", short_number(point.low), short_number(point.high));
  return text;
}

// Columns that say the values below the pointer.
std::string hovers(const LineChart& chart, const Axis& x, const Axis& y) {
  std::string svg;
  const double width = (x.to - x.from) / kHoverColumns;
  for (int column = 0; column < kHoverColumns; ++column) {
    std::string text;
    for (const Line& line : chart.lines) {
      const Point* nearest = nullptr;
      double distance = 0.5 * width + 1e-9;
      for (const Point& point : line.points) {
        const double off = std::abs(x.place_of(point.x) - (x.from + (column + 0.5) * width));
        if (off > distance || !std::isfinite(point.y)) continue;
        distance = off;
        nearest = &point;
      }
      if (nearest) text += (text.empty() ? "" : "\n") + value_text(chart, line, *nearest);
    }
    if (!text.empty()) svg += svg_rect(x.from + column * width, y.to, width, y.from - y.to, "hover", text);
  }
  return svg;
}

std::string legend(const LineChart& chart) {
  std::string html;
  for (const Line& line : chart.lines)
    if (!line.name.empty() && line.css_class != "faint")
      html +=
          fmt::format("<span class=\"key\"><i class=\"swatch {}\"></i>{}</span>", line.css_class, escaped(line.name));
  return html;
}

}  // namespace

std::vector<Point> points_of(const BinnedSeries& series, double factor) {
  std::vector<Point> points;
  for (const Bin& bin : series.bins())
    points.push_back({bin.middle(), factor * bin.least, factor * bin.mean(), factor * bin.largest});
  return points;
}

bool wants_logarithm(const std::vector<Line>& lines) {
  const Range range = range_of(lines, include_y);
  return !range.empty() && range.low > 0.0 && range.high >= 10.0 * range.low;
}

std::string line_chart(const LineChart& wanted) {
  LineChart chart = wanted;
  std::erase_if(chart.lines, [](const Line& line) { return line.points.empty(); });
  const Range xs = range_of(chart.lines, [](Range& range, const Point& point) { range.include(point.x); });
  const Range ys = range_of(chart.lines, include_y);
  std::string html = fmt::format("<figure><figcaption><b>{}</b> {}{}</figcaption>\n", escaped(chart.title),
                                 escaped(chart.y_name), legend(chart));
  if (xs.empty() || ys.empty()) return html + "<p class=\"none\">nothing was written down for this</p></figure>\n";
  const Axis x = x_axis(xs), y = y_axis(chart, ys);
  html += svg_begin(kWidth, kHeight, chart.title + ", " + chart.y_name) + grid(chart, x, y);
  for (const Line& line : chart.lines) html += curve(line, x, y);
  return html + hovers(chart, x, y) + "</svg></figure>\n";
}

}  // namespace annulus
