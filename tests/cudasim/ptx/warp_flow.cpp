// Where the lanes of a warp go: branches, calls, ends, and the places where they wait for one another.

#include <fmt/format.h>

#include <bit>

#include "tests/cudasim/ptx/block.h"
#include "tests/cudasim/ptx/warp.h"

namespace annulus::cudasim {

void Warp::control(const Op& op, LaneMask active) {
  switch (op.control) {
    case Control::kPlain:
      break;
    case Control::kBranch:
    case Control::kCall:
      branch(op, active);
      break;
    case Control::kTableBranch:
    case Control::kReturn:
      scatter(op, active);
      break;
    case Control::kExit:
      exit(op, active);
      break;
    case Control::kSync:
    case Control::kWholeWarp:
      sync(op, active);
      break;
    case Control::kWarpBarrier:
      warp_barrier(op, active);
      break;
    case Control::kBlockBarrier:
      block_barrier(op, active);
      break;
  }
}

// Lanes whose guard is false skip the instruction.
void Warp::leave_inactive_behind(LaneMask active) {
  Fragment& now = fragments_[current_];
  if (active == now.lanes) return;
  const Fragment rest{now.pc + 1, now.lanes & ~active, Fragment::State::kReady, 0};
  now.lanes = active;
  fragments_.push_back(rest);
}

void Warp::branch(const Op& op, LaneMask active) {
  leave_inactive_behind(active);
  Fragment& now = fragments_[current_];
  if (op.control == Control::kCall)
    for (int lane = 0; lane < kLanes; ++lane)
      if (active >> lane & 1) words(op.slots[0])[lane] = now.pc + 1;
  now.pc = op.target;
}

// Every lane has a target of its own.
void Warp::scatter(const Op& op, LaneMask active) {
  count_run(active);
  leave_inactive_behind(active);
  const bool table = op.control == Control::kTableBranch;
  const auto target_of = [&](int lane) {
    const uint32_t value = words(op.slots[0])[lane];
    if (!table) return value;
    const std::vector<uint32_t>& targets = program_.branch_tables[op.target];
    if (value >= targets.size())
      fault(FaultKind::kOutOfBounds, op, lane, fmt::format("entry {} of a branch table of {}", value, targets.size()));
    return targets[value];
  };
  fragments_.erase(fragments_.begin() + static_cast<long>(current_));
  for (LaneMask left = active; left != 0;) {
    const uint32_t target = target_of(std::countr_zero(left));
    LaneMask same = 0;
    for (LaneMask rest = left; rest != 0; rest &= rest - 1)
      if (target_of(std::countr_zero(rest)) == target) same |= LaneMask{1} << std::countr_zero(rest);
    fragments_.push_back({target, same, Fragment::State::kReady, 0});
    left &= ~same;
  }
  current_ = fragments_.size() - 1;
}

void Warp::exit(const Op& op, LaneMask active) {
  if (const Op* copy = copies_.unfinished(active); copy != nullptr)
    fault(FaultKind::kInFlight, op, std::countr_zero(active),
          fmt::format("ends without having waited for its {} of PTX line {}", copy->text, copy->line));
  leave_inactive_behind(active);
  fragments_.erase(fragments_.begin() + static_cast<long>(current_));
  current_ = 0;
  alive_ &= ~active;
  for (Fragment& fragment : fragments_)  // they may have waited for these lanes
    if (fragment.state == Fragment::State::kAtSync) fragment.state = Fragment::State::kReady;
  block_.threads_left();
}

// Lanes with one member mask act together, once all of them that live have come; the others wait here.
void Warp::sync(const Op& op, LaneMask active) {
  const bool whole = op.control == Control::kWholeWarp;
  leave_inactive_behind(active);
  LaneMask incomplete = 0;
  for (LaneMask left = active; left != 0;) {
    const int first = std::countr_zero(left);
    LaneMask group = left, members = kAllLanes;
    if (!whole) {
      const uint32_t* masks = words(op.slots[op.extra]);
      members = masks[first];
      for (LaneMask rest = left; rest != 0; rest &= rest - 1)
        if (masks[std::countr_zero(rest)] != members) group &= ~(LaneMask{1} << std::countr_zero(rest));
      if ((group & ~members) != 0)
        fault(FaultKind::kDivergence, op, std::countr_zero(group & ~members),
              fmt::format("the lane is not in its own member mask {:08x}", members));
    }
    left &= ~group;
    if (group != (members & alive_)) {
      incomplete |= group;
      continue;
    }
    if (whole && group != kAllLanes)
      fault(FaultKind::kDivergence, op, first, fmt::format("needs all 32 lanes, but only {:08x} live", alive_));
    count_run(group);
    op.run(*this, op, group);
  }
  Fragment& now = fragments_[current_];
  if (incomplete == now.lanes) {
    now.state = Fragment::State::kAtSync;
    return;
  }
  const Fragment waiting{now.pc, incomplete, Fragment::State::kAtSync, 0};
  now.lanes &= ~incomplete;
  ++now.pc;
  if (incomplete != 0) fragments_.push_back(waiting);
}

// Unlike the others, __syncwarp() may be reached at different places of the program. Lanes at one place may belong to
// different masks.
void Warp::warp_barrier(const Op& op, LaneMask active) {
  leave_inactive_behind(active);
  fragments_[current_].state = Fragment::State::kAtSync;
  const uint32_t* const masks = words(op.slots[0]);
  for (LaneMask left = active; left != 0;) {
    const LaneMask members = masks[std::countr_zero(left)] & alive_;
    left &= ~(members | (left & -left));
    release_at_warp_barrier(op, members);
  }
}

// Lets these lanes go on, if all of them have come.
void Warp::release_at_warp_barrier(const Op& op, LaneMask members) {
  const auto waits = [&](const Fragment& fragment) {
    return fragment.state == Fragment::State::kAtSync && program_.code[fragment.pc].control == Control::kWarpBarrier;
  };
  LaneMask here = 0;
  for (const Fragment& fragment : fragments_)
    if (waits(fragment)) here |= fragment.lanes;
  if ((here & members) != members) return;
  const auto pc = static_cast<uint32_t>(&op - program_.code.data());
  runs_.add(pc, pc + 1, static_cast<uint32_t>(std::popcount(members)));
  for (size_t i = fragments_.size(); i-- > 0;) {
    const LaneMask stay = fragments_[i].lanes & ~members;
    if (!waits(fragments_[i]) || stay == fragments_[i].lanes) continue;
    if (stay != 0) fragments_.push_back({fragments_[i].pc, stay, Fragment::State::kAtSync, 0});
    Fragment& released = fragments_[i];
    released.lanes &= members;
    released.state = Fragment::State::kReady;
    ++released.pc;
  }
  if (Observer* observer = block_.launch().options.observer) {
    std::vector<uint32_t> threads;
    add_threads(members, threads);
    observer->on_warp_sync(block_.linear(), threads);
  }
}

void Warp::block_barrier(const Op& op, LaneMask active) {
  count_run(active);
  leave_inactive_behind(active);
  const int first = std::countr_zero(active);
  const uint32_t barrier = words(op.slots[op.extra])[first];
  const bool votes = op.extra != 0, counted = op.operand_count > op.extra + (votes ? 2u : 1u);
  const uint32_t expected = counted ? words(op.slots[op.extra + 1])[first] : 0;
  if (barrier > 15)
    fault(FaultKind::kDivergence, op, first, fmt::format("names barrier {}; a block has 0 to 15", barrier));
  if (votes) {
    const LaneMask yes = predicate(op, static_cast<int>(op.operand_count) - 1) & active;
    block_.votes(barrier).yes += static_cast<uint32_t>(std::popcount(yes));
    block_.votes(barrier).total += static_cast<uint32_t>(std::popcount(active));
  }
  Fragment& now = fragments_[current_];
  const bool waits = op.extra2 == 0;
  if (waits) {
    now.state = Fragment::State::kAtBarrier;
    now.barrier = barrier;
  } else {
    ++now.pc;
    if (Observer* observer = block_.launch().options.observer) {
      std::vector<uint32_t> threads;
      add_threads(active, threads);
      observer->on_arrival(block_.linear(), barrier, threads);
    }
  }
  // Where threads are counted, a whole warp counts as 32 of them, also when some of its lanes do not exist any more.
  const auto lanes = static_cast<uint32_t>(std::popcount(active));
  block_.arrive(barrier, counted && active == alive_ ? kLanes : lanes, expected);
}

void Warp::add_threads(LaneMask lanes, std::vector<uint32_t>& threads) const {
  for (LaneMask left = lanes; left != 0; left &= left - 1) threads.push_back(thread(std::countr_zero(left)));
}

}  // namespace annulus::cudasim
