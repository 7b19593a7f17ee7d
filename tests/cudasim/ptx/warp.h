#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/cudasim/ptx/async_copies.h"
#include "tests/cudasim/ptx/fault.h"
#include "tests/cudasim/ptx/memory.h"
#include "tests/cudasim/ptx/observer.h"
#include "tests/cudasim/ptx/program.h"
#include "tests/cudasim/ptx/statistics.h"

namespace annulus::cudasim {

class Block;
class Chance;

/// Lanes of a warp that are at the same instruction.
struct Fragment {
  enum class State : uint8_t { kReady, kAtSync, kAtBarrier };
  uint32_t pc = 0;
  LaneMask lanes = 0;
  State state = State::kReady;
  uint32_t barrier = 0;  // which, kAtBarrier
};

/// One address per lane; those of lanes that take no part are unset.
struct Addresses {
  alignas(64) uint64_t of[kLanes];
};

/// Whether the lanes' accesses of so many bytes lie one behind the other.
inline bool contiguous(const Addresses& at, uint32_t bytes) {
  uint64_t apart = 0;
  for (uint32_t lane = 0; lane < kLanes; ++lane) apart |= at.of[lane] - (at.of[0] + uint64_t{lane} * bytes);
  return apart == 0;
}

/// The bytes that one lane may access, and their states.
struct Bytes {
  uint8_t* data;
  uint8_t* state;
};

/// 32 threads with their registers. Lanes that branch apart become fragments, which run one at a time and join again
/// where they meet; an instruction that needs several lanes waits until they have come.
class Warp {
 public:
  Warp(Block& block, uint32_t index);

  /// Begins a block: every lane at the first instruction.
  void start(LaneMask lanes);
  /// Runs up to `budget` instructions; fewer when nothing of it can go on. Returns how many.
  uint64_t run(uint64_t budget);
  bool ready() const;
  bool finished() const { return alive_ == 0; }

  /// Lets the fragments that wait at this barrier go on.
  void pass_barrier(uint32_t barrier);
  /// Adds the threads that wait at this barrier.
  void add_waiting(uint32_t barrier, std::vector<uint32_t>& threads) const;
  /// Where its lanes are, for reports of deadlocks.
  std::string whereabouts() const;

  // For the handlers of instructions.
  uint32_t* words(uint32_t slot) { return file_.data() + slot; }
  const uint32_t* words(uint32_t slot) const { return file_.data() + slot; }
  /// A predicate operand, negated if it is written so.
  LaneMask predicate(const Op& op, int operand) const {
    return file_[op.slots[operand]] ^ (op.negated >> operand & 1 ? kAllLanes : 0);
  }
  /// 32 or 64 bits, as wide as the operand is.
  uint64_t bits(const Op& op, int operand, int lane) const {
    const uint32_t* at = words(op.slots[operand]);
    return op.wide >> operand & 1 ? uint64_t{at[2 * lane + 1]} << 32 | at[2 * lane] : at[lane];
  }
  void addresses(const Op& op, int operand, LaneMask lanes, Addresses& out) const;
  /// Checks the access and says where its bytes are; throws DeviceFault.
  Bytes reach(const Op& op, int lane, uint64_t address, uint32_t bytes, MemoryAccess::Kind kind) {
    // What nearly every access is: in order, where the last one was, and nobody watches.
    Region* const region = op.space == Space::kShared ? shared_ : op.space == Space::kGlobal ? recent_ : nullptr;
    if (region != nullptr && !observed_ && (address & (bytes - 1)) == 0 && region->holds(address, bytes) &&
        (kind == MemoryAccess::Kind::kRead || region->writable)) {
      const Bytes found{region->data.data() + (address - region->base),
                        region->state.data() + (address - region->base)};
      if (kind == MemoryAccess::Kind::kWrite ? all_bytes(found.state, bytes, kInFlight, 0)
                                             : all_bytes(found.state, bytes, kOutside, kWritten))
        return found;
    }
    return reach_in(op, lane, op.space, address, bytes, kind, true);
  }
  /// The same in one space, whatever the instruction names; `told`: the observer hears of it.
  Bytes reach_in(const Op& op, int lane, Space space, uint64_t address, uint32_t bytes, MemoryAccess::Kind kind,
                 bool told);
  /// Of accesses of all 32 lanes that lie in one allocation, or in shared memory, aligned and not in what is constant:
  /// that region, and in `offsets` where in it they lie. Only the states of the bytes are then left to be checked. Null
  /// where that is not so, or somebody watches: reach() is for those.
  Region* region_for_all(Space space, const Addresses& at, uint32_t bytes, MemoryAccess::Kind kind,
                         Addresses& offsets) const;
  /// The allocation from which cp.async reads, and where in it; throws DeviceFault like reach().
  const Region& source_of_copy(const Op& op, int lane, uint64_t address, uint32_t bytes, uint64_t& offset);
  /// The byte at this address, unchecked and untold; null where there is none.
  const uint8_t* peek(const Op& op, int lane, uint64_t address) const;
  /// Counts the request of these lanes.
  void count(const Op& op, const Addresses& at, LaneMask lanes, uint32_t bytes);
  void count_in(const Op& op, Space space, const Addresses& at, LaneMask lanes, uint32_t bytes);
  void copy_local(const std::vector<LocalCopy>& copies, LaneMask lanes);

  [[noreturn]] void fault(FaultKind kind, const Op& op, int lane, const std::string& message) const;
  Block& block() { return block_; }
  const Block& block() const { return block_; }
  uint32_t index() const { return index_; }
  uint32_t thread(int lane) const { return index_ * kLanes + static_cast<uint32_t>(lane); }
  LaneMask alive() const { return alive_; }
  AsyncCopies& copies() { return copies_; }

 private:
  void fill_constants();
  void fill_specials(LaneMask lanes);
  bool select();
  uint64_t run_plain(uint64_t budget);
  bool plain_for(const Op& op, LaneMask lanes) const;
  void step();
  void control(const Op& op, LaneMask active);
  void branch(const Op& op, LaneMask active);
  void scatter(const Op& op, LaneMask active);
  void sync(const Op& op, LaneMask active);
  void warp_barrier(const Op& op, LaneMask active);
  void release_at_warp_barrier(const Op& op, LaneMask members);
  void block_barrier(const Op& op, LaneMask active);
  void exit(const Op& op, LaneMask active);
  void leave_inactive_behind(LaneMask active);
  void count_run(LaneMask active);
  void merge();
  void add_threads(LaneMask lanes, std::vector<uint32_t>& threads) const;
  Region& region_of(const Op& op, int lane, Space space, uint64_t address, uint32_t bytes, uint64_t& offset);
  void check_state(const Op& op, int lane, const Region& region, uint64_t address, const uint8_t* state, uint32_t bytes,
                   MemoryAccess::Kind kind) const;
  [[noreturn]] void out_of_bounds(const Op& op, int lane, Space space, uint64_t address, uint32_t bytes) const;

  Block& block_;
  uint32_t index_;
  const Program& program_;
  std::vector<uint32_t> file_;
  std::vector<Counter>& counters_;
  RunCounter& runs_;
  std::vector<Fragment> fragments_;
  size_t current_ = 0;
  LaneMask alive_ = 0;
  uint64_t alone_ = 0;  // instructions run by one fragment while others were ready
  Region* shared_;      // the block's
  Region* recent_;      // the allocation of the last global access, which is not freed; or null
  bool observed_;
  Region local_;
  AsyncCopies copies_;
};

}  // namespace annulus::cudasim
