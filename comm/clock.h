#pragma once
// One clock for the ranks of several nodes, as far as messages can tell.
#include <cstdint>
#include <functional>

#include "comm/group.h"
#include "runtime/core/timeline.h"

namespace annulus {

using Clock = std::function<int64_t()>;  // nanoseconds

struct ClockOffset {
  int64_t nanoseconds = 0;  // added to this rank's clock, it gives that of rank 0
  int64_t error = 0;        // at most so far off; 0 on rank 0
};

/// Collective. From the fastest of a few questions to rank 0: its answer was given between the question and the
/// answer's arrival. Where that leaves room for no offset, as on one node, it is 0.
ClockOffset clock_offset(Group& group, const Clock& clock = Timeline::now);

}  // namespace annulus
