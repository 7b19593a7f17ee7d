#include "runtime/report/ring_section.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/report/axis.h"
#include "runtime/report/bar_chart.h"
#include "runtime/report/markup.h"
#include "runtime/report/ring_chart.h"

namespace annulus {
namespace {

constexpr int kMostRows = 16, kMostColumns = 512;

std::string missing(const RunRecord& run) {
  const bool never = run.config.train.trace_step == 0;
  return fmt::format("<p class=\"none\">There is no picture of a step: {}. {}</p>\n", escaped(run.trace_missing),
                     never ? "train.trace_step is 0, which records none; with another value, train writes trace.json."
                           : "Train writes trace.json at step train.trace_step, and anew after each --resume.");
}

std::string percent(double part, double whole) {
  return fmt::format("{:.1f} %", whole > 0.0 ? 100.0 * part / whole : 0.0);
}

// The least, the mean and the largest share, over ranks, of what `part` gives.
template <class Get>
std::string shares(const std::vector<RankTime>& times, Get&& part) {
  double least = 1.0, largest = 0.0, sum = 0.0;
  for (const RankTime& time : times) {
    const double share = time.step > 0.0 ? part(time) / time.step : 0.0;
    least = std::min(least, share);
    largest = std::max(largest, share);
    sum += share;
  }
  return fmt::format("{} ({} to {})", percent(sum / static_cast<double>(times.size()), 1.0), percent(least, 1.0),
                     percent(largest, 1.0));
}

std::string pictures(const Trace& trace, const std::vector<RankTime>& times) {
  const std::vector<std::vector<Stretch>> parts = stretches(trace);
  const std::vector<int> ranks = ranks_to_show(times, kMostRows);
  std::string html;
  if (static_cast<int>(ranks.size()) < trace.num_ranks())
    html += fmt::format(
        "<p>Of {} ranks, {} are shown: the {} that waited least (for whom others wait) and the {} that "
        "waited most. trace.json has all.</p>\n",
        trace.num_ranks(), ranks.size(), kMostRows / 2, kMostRows - kMostRows / 2);
  html += ring_legend(trace);
  const auto show = [&](const std::string& title, Window window) {
    if (window.end <= window.begin) return;
    html += fmt::format("<h3>{}</h3>\n<div class=\"scroll\">", escaped(title)) +
            ring_chart(parts, ranks, trace, window, title) + "</div>\n";
  };
  int layers = 0;
  for (const TraceSpan& span : trace.spans) layers = std::max(layers, span.layer + 1);
  const int middle = layers / 2;
  show(fmt::format("Step {}, all of it", trace.facts.step), window_of_step(trace));
  show(fmt::format("Layer {} forward, enlarged", middle), window_of_layer(trace, middle, false));
  show(fmt::format("Layer {} backward, enlarged", middle), window_of_layer(trace, middle, true));
  return html;
}

ColumnChart time_chart(const std::vector<RankTime>& times) {
  ColumnChart chart = {
      .title = "Where the step went",
      .y_name = "% of each rank's step",
      .parts = {{"attention", "b5"}, {"other work", "layer"}, {"exchange", "exchange"}, {"waiting", "wait"}},
      .values = {},
      .ranks = {}};
  for (size_t rank = 0; rank < std::min<size_t>(times.size(), kMostColumns); ++rank) {
    const RankTime& t = times[rank];
    const double scale = t.step > 0.0 ? 100.0 / t.step : 0.0;
    const double other = std::max(0.0, t.step - t.attention - t.exchange - t.wait);
    chart.values.push_back({scale * t.attention, scale * other, scale * t.exchange, scale * t.wait});
    chart.ranks.push_back(static_cast<int>(rank));
  }
  return chart;
}

ColumnChart work_chart(const std::vector<RankTime>& times) {
  ColumnChart chart = {.title = "Balance of the attention's work",
                       .y_name = "visible pairs of a layer",
                       .parts = {{"", "b5"}},
                       .values = {},
                       .ranks = {}};
  for (size_t rank = 0; rank < std::min<size_t>(times.size(), kMostColumns); ++rank) {
    chart.values.push_back({static_cast<double>(times[rank].pairs)});
    chart.ranks.push_back(static_cast<int>(rank));
  }
  return chart;
}

std::string balance(const std::vector<RankTime>& times) {
  double most = 0.0, sum = 0.0, slowest = 0.0, seconds = 0.0;
  for (const RankTime& time : times) {
    most = std::max(most, static_cast<double>(time.pairs));
    sum += static_cast<double>(time.pairs);
    slowest = std::max(slowest, time.attention);
    seconds += time.attention;
  }
  const auto ranks = static_cast<double>(times.size());
  const auto ratio = [&](double largest, double total) {
    return total > 0.0 ? fmt::format("{:.3f}", largest * ranks / total) : "none";
  };
  std::string html = fmt::format(
      "<p>Largest rank over mean: {} in (query, key) pairs that see each other, {} in time spent on them. Of its step, "
      "a "
      "rank spent on attention {}, waiting in the ring {}, in reduce-scatter and all-gather {}.</p>\n",
      ratio(most, sum), ratio(slowest, seconds), shares(times, [](const RankTime& t) { return t.attention; }),
      shares(times, [](const RankTime& t) { return t.wait; }),
      shares(times, [](const RankTime& t) { return t.exchange; }));
  if (times.size() > kMostColumns) html += fmt::format("<p>The first {} ranks:</p>\n", kMostColumns);
  return html + "<div class=\"grid\">\n" + column_chart(time_chart(times)) + column_chart(work_chart(times)) +
         "</div>\n";
}

}  // namespace

std::string ring_section(const RunRecord& run) {
  std::string html = "<h2 id=\"ring\">The ring at work</h2>\n";
  if (!run.trace) return html + missing(run) + "<h2 id=\"balance\">Balance between ranks</h2>\n" + missing(run);
  const Trace& trace = *run.trace;
  const std::vector<RankTime> times = rank_times(trace);
  html += fmt::format(
      "<p>What {} rank{} (dp {} x cp {}, {} placement, transport {}) did during step {}. A number in a visit is the "
      "rank "
      "whose keys and values are visited. Open <code>trace.json</code> in ui.perfetto.dev or chrome://tracing to look "
      "closer.{}</p>\n",
      trace.num_ranks(), trace.num_ranks() == 1 ? "" : "s", trace.facts.dims.dp, trace.facts.dims.cp,
      escaped(trace.facts.placement), escaped(trace.facts.transport), trace.facts.step,
      trace.clock_error_us > 0.0
          ? fmt::format(" Clocks of different nodes were compared to within {} us.", short_number(trace.clock_error_us))
          : "");
  if (trace.dropped_spans > 0)
    html += fmt::format("<p class=\"note\">{} spans at the end of the step found no room and are missing.</p>\n",
                        grouped(trace.dropped_spans));
  return html + pictures(trace, times) + "<h2 id=\"balance\">Balance between ranks</h2>\n" + balance(times);
}

}  // namespace annulus
