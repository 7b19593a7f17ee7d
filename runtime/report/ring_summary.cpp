#include "runtime/report/ring_summary.h"

#include <algorithm>
#include <numeric>

namespace annulus {

std::vector<RankTime> rank_times(const Trace& trace) {
  std::vector<RankTime> times(static_cast<size_t>(trace.num_ranks()));
  for (const TraceSpan& span : trace.spans) {
    RankTime& time = times[static_cast<size_t>(span.rank)];
    const double seconds = 1e-6 * (span.end - span.begin);
    switch (span.activity) {
      case Activity::kStep:
        time.step += seconds;
        break;
      case Activity::kWait:
        time.wait += seconds;
        break;
      case Activity::kReduceScatter:
      case Activity::kAllGather:
        time.exchange += seconds;
        break;
      case Activity::kVisit:
        time.attention += seconds;
        if (!span.backward && span.layer == 0) time.pairs += span.pairs;
        break;
      default:
        break;
    }
  }
  return times;
}

std::vector<std::vector<Stretch>> stretches(const Trace& trace) {
  std::vector<std::vector<Stretch>> all(static_cast<size_t>(trace.num_ranks()));
  std::vector<const TraceSpan*> open;  // of the current rank, each around the next
  double at = 0.0;
  const auto go_to = [&](double time) {
    if (!open.empty() && time > at) all[static_cast<size_t>(open.back()->rank)].push_back({at, time, open.back()});
    at = std::max(at, time);
  };
  const auto close_until = [&](double time) {
    while (!open.empty() && open.back()->end <= time) {
      go_to(open.back()->end);
      open.pop_back();
    }
    go_to(time);
  };
  for (const TraceSpan& span : trace.spans) {
    if (!open.empty() && open.back()->rank != span.rank) {
      while (!open.empty()) close_until(open.back()->end);
      at = 0.0;
    }
    if (open.empty()) at = std::min(at, span.begin);
    close_until(span.begin);
    open.push_back(&span);
  }
  while (!open.empty()) close_until(open.back()->end);
  return all;
}

namespace {

template <class Wanted>
Window window_of(const Trace& trace, Wanted&& wanted) {
  Window window;
  bool any = false;
  for (const TraceSpan& span : trace.spans) {
    if (!wanted(span)) continue;
    window.begin = any ? std::min(window.begin, span.begin) : span.begin;
    window.end = any ? std::max(window.end, span.end) : span.end;
    any = true;
  }
  return window;
}

}  // namespace

Window window_of_layer(const Trace& trace, int layer, bool backward) {
  return window_of(trace, [&](const TraceSpan& span) {
    return span.layer == layer && span.backward == backward && span.micro_batch == 0;
  });
}

Window window_of_step(const Trace& trace) {
  return window_of(trace, [](const TraceSpan&) { return true; });
}

std::vector<int> ranks_to_show(const std::vector<RankTime>& times, int most) {
  std::vector<int> ranks(times.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  if (static_cast<int>(ranks.size()) <= most) return ranks;
  std::stable_sort(ranks.begin(), ranks.end(), [&](int a, int b) {
    return times[static_cast<size_t>(a)].wait < times[static_cast<size_t>(b)].wait;
  });
  ranks.erase(ranks.begin() + most / 2, ranks.end() - (most - most / 2));
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

}  // namespace annulus
