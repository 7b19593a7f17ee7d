#pragma once

#include <cstdint>
#include <vector>

#include "tests/cudasim/ptx/program.h"

namespace annulus::cudasim {

class Warp;

/// The cp.async copies of a warp's lanes, from their issue to the wait that makes them visible. When a copy lands in
/// between is the schedule's choice; its destination counts as in flight until the wait.
class AsyncCopies {
 public:
  void clear();
  /// Copies `bytes` - `given` zeros after `given` bytes from global memory.
  void issue(Warp& warp, const Op& op, int lane, uint64_t to, uint64_t from, uint32_t bytes, uint32_t given);
  void commit(LaneMask lanes);
  /// Until at most `newest` committed groups of each lane are under way.
  void wait_groups(Warp& warp, LaneMask lanes, uint64_t newest);
  void wait_all(Warp& warp, LaneMask lanes);
  /// Lands one copy, if there is one (the schedule's choice of when).
  void land_one(Warp& warp, uint64_t choice);
  /// A copy of one of these lanes, or null.
  const Op* unfinished(LaneMask lanes) const;

 private:
  struct Copy {
    const Op* op;
    uint64_t to, from, group, number;
    uint32_t bytes, given;
    int lane;
    bool landed;
  };
  void land(Warp& warp, Copy& copy);
  void finish(Warp& warp, Copy& copy);

  std::vector<Copy> copies_;
  uint64_t group_[kLanes] = {};  // the group that the lane's next copy joins
};

}  // namespace annulus::cudasim
