#pragma once
// trace.json: what every rank did when during one step, for chrome://tracing, Perfetto and the report.
#include <string>
#include <vector>

#include "comm/parallel_dims.h"
#include "runtime/core/timeline.h"

namespace annulus {

class Group;

struct TraceFacts {
  std::string run;
  int64_t step = 0;
  ParallelDims dims;
  std::string placement, transport;
};

/// Collective. Rank 0 writes the spans of all ranks to `path`, in the format of Chrome's tracing: processes are rings,
/// threads are ranks; times count from the first begin of the step on any rank. Clocks of other nodes are brought to
/// that of rank 0 by messages (clock_offset). Returns why it could not be written, on rank 0; empty: it is there.
std::string write_trace(const std::string& path, const TraceFacts& facts, const Timeline& timeline, Group& world);

/// A Span with its rank of the world and times in microseconds; block and peer are ranks of the world, too.
struct TraceSpan {
  Activity activity = Activity::kStep;
  bool backward = false;
  int rank = 0, micro_batch = -1, layer = -1, visit = -1, block = -1, peer = -1;
  int64_t pairs = 0, bytes = 0;
  double begin = 0.0, end = 0.0;
};

struct Trace {
  TraceFacts facts;
  int64_t dropped_spans = 0;     // of all ranks, for which there was no room
  double clock_error_us = 0.0;   // the clocks of two ranks agree to twice that
  std::vector<TraceSpan> spans;  // of a rank: by begin, what lies around others before them

  int num_ranks() const { return facts.dims.dp * facts.dims.cp; }
};

/// Throws UserError (65) where there is no such file, or it is not a whole trace of ours. Other programs may have
/// written it anew, and in another order. Memory is that of the spans, not of the text.
Trace read_trace(const std::string& path);

}  // namespace annulus
