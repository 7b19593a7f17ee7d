#include "runtime/report/ring_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "runtime/report/axis.h"
#include "runtime/report/markup.h"

namespace annulus {
namespace {

constexpr double kWidth = 1120, kLeft = 66, kRight = 12, kTop = 6, kRow = 24, kGap = 4, kBottom = 40;
constexpr size_t kMostSingle = 1500;  // stretches drawn one by one: the page stays small
constexpr double kColumn = 2.0;       // where there are more, the width of a place
constexpr double kLeastLabel = 22.0;  // wide enough for the number of a block
constexpr int kBlockColours = 16;

// The ring rank of a block's owner: ring by ring the same colours.
int block_of(const TraceSpan& span, const Trace& trace) { return trace.facts.dims.ring_rank_of(span.block); }

int colour_of(int block, int cp) { return block * kBlockColours / cp; }

std::string css_class(const TraceSpan& span, const Trace& trace) {
  switch (span.activity) {
    case Activity::kVisit:
      return span.block < 0 ? "rest" : fmt::format("b{}", colour_of(block_of(span, trace), trace.facts.dims.cp));
    case Activity::kWait:
      return "wait";
    case Activity::kPack:
    case Activity::kSumGradients:
      return "pack";
    case Activity::kLayer:
    case Activity::kProjections:
    case Activity::kMlp:
      return "layer";
    case Activity::kLoss:
      return "loss";
    case Activity::kReduceScatter:
    case Activity::kAllGather:
      return "exchange";
    case Activity::kOptimizer:
      return "update";
    case Activity::kStep:
    case Activity::kMicroBatch:
      return "rest";
  }
  return "rest";
}

std::string milliseconds(double us) { return short_number(1e-3 * us) + " ms"; }

std::string hover_text(const Stretch& stretch) {
  const TraceSpan& span = *stretch.span;
  std::string text = fmt::format("rank {}", span.rank);
  if (span.layer >= 0) text += fmt::format(", layer {} {}", span.layer, span.backward ? "backward" : "forward");
  text += fmt::format(": {}", name_of(span.activity));
  if (span.activity == Activity::kVisit)
    text += fmt::format(" {} to the block of rank {}, {} pairs", span.visit, span.block, grouped(span.pairs));
  if (span.activity == Activity::kWait) text += fmt::format(" for rank {}", span.peer);
  return text + ", " + milliseconds(stretch.end - stretch.begin);
}

struct Row {
  const Axis& x;
  double y;
  const Trace& trace;
};

std::string single(const Row& row, const Stretch& stretch) {
  const double from = row.x.place_of(stretch.begin), to = row.x.place_of(stretch.end);
  if (to - from < 0.05) return {};
  std::string svg =
      svg_rect(from, row.y, std::max(to - from, 0.3), kRow, css_class(*stretch.span, row.trace), hover_text(stretch));
  if (stretch.span->activity == Activity::kVisit && to - from >= kLeastLabel)
    svg += svg_text(0.5 * (from + to), row.y + 16, "middle", std::to_string(stretch.span->block), "inside");
  return svg;
}

// Columns of equal width, each in the colour that most of its time has, as far as anything happened; equal neighbours
// as one.
std::string in_columns(const Row& row, const std::vector<Stretch>& stretches) {
  const auto columns = static_cast<size_t>((row.x.to - row.x.from) / kColumn);
  std::vector<std::map<std::string, double>> shares(columns);
  for (const Stretch& stretch : stretches) {
    if (stretch.end <= row.x.low || stretch.begin >= row.x.high) continue;
    const double from = (row.x.place_of(stretch.begin) - row.x.from) / kColumn;
    const double to = (row.x.place_of(stretch.end) - row.x.from) / kColumn;
    const std::string name = css_class(*stretch.span, row.trace);
    for (auto c = static_cast<size_t>(from); c < columns && static_cast<double>(c) < to; ++c)
      shares[c][name] += std::min(to, static_cast<double>(c + 1)) - std::max(from, static_cast<double>(c));
  }
  const auto most_of = [](const std::map<std::string, double>& share) -> std::string {
    const auto most =
        std::max_element(share.begin(), share.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    return most == share.end() ? "" : most->first;
  };
  std::string svg;
  for (size_t begin = 0, end; begin < columns; begin = end) {
    const std::string name = most_of(shares[begin]);
    for (end = begin + 1; end < columns && most_of(shares[end]) == name;) ++end;
    if (!name.empty())
      svg += svg_rect(row.x.from + kColumn * static_cast<double>(begin), row.y,
                      kColumn * static_cast<double>(end - begin), kRow, name);
  }
  return svg;
}

// From the begin of the window on, in the unit that fits its length.
std::string time_axis(const Axis& x, double y) {
  const double length = x.high - x.low;
  const auto [unit, name] = length >= 2e6   ? std::pair{1e6, "seconds"}
                            : length >= 2e3 ? std::pair{1e3, "milliseconds"}
                                            : std::pair{1.0, "microseconds"};
  std::string svg;
  for (const Tick& tick : linear_ticks(0.0, length / unit, 10)) {
    const double at = x.place_of(x.low + unit * tick.value);
    svg += svg_line(at, y, at, y + 5, "axis") + svg_text(at, y + 19, "middle", tick.label);
  }
  return svg + svg_text(x.to, y + 34, "end", name, "name");
}

}  // namespace

std::string ring_chart(const std::vector<std::vector<Stretch>>& all, const std::vector<int>& ranks, const Trace& trace,
                       Window window, const std::string& label) {
  const double bottom = kTop + static_cast<double>(ranks.size()) * (kRow + kGap);
  const Axis x = {.low = window.begin, .high = window.end, .from = kLeft, .to = kWidth - kRight};
  const auto inside = [&](const Stretch& s) { return s.end > window.begin && s.begin < window.end; };
  std::ptrdiff_t count = 0;
  for (const int rank : ranks)
    count += std::count_if(all[static_cast<size_t>(rank)].begin(), all[static_cast<size_t>(rank)].end(), inside);
  std::string svg = svg_begin(kWidth, bottom + kBottom, label);
  double y = kTop;
  for (const int rank : ranks) {
    const std::vector<Stretch>& mine = all[static_cast<size_t>(rank)];
    const Row row = {x, y, trace};
    svg += svg_text(kLeft - 8, y + 16, "end", fmt::format("rank {}", rank));
    svg += svg_rect(x.from, y, x.to - x.from, kRow, "empty");
    if (static_cast<size_t>(count) > kMostSingle)
      svg += in_columns(row, mine);
    else
      for (const Stretch& stretch : mine)
        if (inside(stretch)) svg += single(row, stretch);
    y += kRow + kGap;
  }
  return svg + time_axis(x, bottom) + "</svg>\n";
}

std::string block_colours() {
  constexpr double kFirstHue = 165, kLastHue = 285;  // green to violet, far from the red of waits
  std::string css;
  for (int i = 0; i < kBlockColours; ++i) {
    const double hue = kFirstHue + (kLastHue - kFirstHue) * i / (kBlockColours - 1);
    css += fmt::format(".b{0} {{ fill: hsl({1:.0f} 55% var(--light)); background: hsl({1:.0f} 55% var(--light)); }}\n",
                       i, hue);
  }
  return css;
}

std::string ring_legend(const Trace& trace) {
  const int cp = trace.facts.dims.cp;
  std::string html = "<span class=\"key\">";
  for (int block = 0; block < std::min(cp, kBlockColours); ++block)
    html += fmt::format("<i class=\"swatch b{}\"></i>",
                        colour_of(cp <= kBlockColours ? block : block * cp / kBlockColours, cp));
  html += cp == 1 ? "attention</span>"
                  : fmt::format("attention, by the owner of the block: rank 0 to {} of the ring</span>", cp - 1);
  for (const auto& [name, meaning] : {std::pair{"wait", "waiting for another rank of the ring"},
                                      {"pack", "packing blocks, summing their gradients"},
                                      {"layer", "projections, MLP and norms"},
                                      {"loss", "LM head and loss"},
                                      {"exchange", "reduce-scatter and all-gather, waiting in them included"},
                                      {"update", "gradient norm and optimizer"},
                                      {"rest", "the rest"}})
    html += fmt::format("<span class=\"key\"><i class=\"swatch {}\"></i>{}</span>", name, meaning);
  return "<p class=\"legend\">" + html + "</p>\n";
}

}  // namespace annulus
