#pragma once
// What a trace says in numbers: where the time of each rank went, and how evenly the work lies.
#include <vector>

#include "runtime/trace_file.h"

namespace annulus {

/// Seconds of one rank's step. What is left of `step` is other work.
struct RankTime {
  double step = 0.0, attention = 0.0, wait = 0.0, exchange = 0.0;  // exchange: reduce-scatter and all-gather
  int64_t pairs = 0;  // (query, key) pairs of one layer, head and sequence, over the micro-batches
};

std::vector<RankTime> rank_times(const Trace& trace);

/// A stretch of time of one rank in which nothing else happened: the innermost span there is.
struct Stretch {
  double begin, end;  // microseconds
  const TraceSpan* span;
};

/// One after the other, without what lies in none; for each rank of the trace.
std::vector<std::vector<Stretch>> stretches(const Trace& trace);

/// From the first begin to the last end, over all ranks, of one layer's pass in the first micro-batch; empty (0, 0)
/// where there is none.
struct Window {
  double begin = 0.0, end = 0.0;
};
Window window_of_layer(const Trace& trace, int layer, bool backward);
Window window_of_step(const Trace& trace);

/// The ranks to show where there are more than `most`: those that waited least, for whom others wait, and those that
/// waited most. In order.
std::vector<int> ranks_to_show(const std::vector<RankTime>& times, int most);

}  // namespace annulus
