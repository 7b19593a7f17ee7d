#pragma once

#include <cstdint>
#include <vector>

#include "tests/cudasim/ptx/program.h"

namespace annulus::cudasim {

class Warp;
struct Addresses;
struct Region;

/// The cp.async copies of a warp's lanes, from their issue to the wait that makes them visible. When a copy lands in
/// between is the schedule's choice; its destination counts as in flight until the wait.
class AsyncCopies {
 public:
  void clear();
  /// Each lane copies `bytes` from an address in global memory to one in shared memory: the first `given` of them, and
  /// zeros after those.
  void issue(Warp& warp, const Op& op, LaneMask lanes, const Addresses& to, const Addresses& from, uint32_t bytes,
             const uint32_t (&given)[kLanes]);
  void commit(LaneMask lanes);
  /// Until at most `newest` committed groups of each lane are under way.
  void wait_groups(Warp& warp, LaneMask lanes, uint64_t newest);
  void wait_all(Warp& warp, LaneMask lanes);
  /// Lands one lane's copy, if there is one (the schedule's choice of when).
  void land_one(Warp& warp, uint64_t choice);
  /// A copy of one of these lanes, or null.
  const Op* unfinished(LaneMask lanes) const;

 private:
  /// What one instruction copies, of the lanes that have not waited yet.
  struct Copies {
    const Op* op;
    uint64_t first_number;  // of the lowest lane that took part; the others follow
    uint32_t bytes;
    LaneMask issued, waiting, landed;
    uint32_t to[kLanes];
    uint8_t given[kLanes];
    uint64_t from[kLanes], group[kLanes];  // offset within the source
    const Region* source[kLanes];          // null where nothing is read
    Copies() {}                            // issue() fills in what it uses
  };
  void land(Warp& warp, Copies& copies, int lane);
  void finish(Warp& warp, Copies& copies, LaneMask lanes);
  static uint64_t number(const Copies& copies, int lane);

  std::vector<Copies> copies_;
  uint64_t group_[kLanes] = {};  // the group that the lane's next copy joins
};

}  // namespace annulus::cudasim
