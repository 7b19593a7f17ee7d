#include "tests/cudasim/ptx/async_copies.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/cudasim/ptx/block.h"
#include "tests/cudasim/ptx/warp.h"

namespace annulus::cudasim {

void AsyncCopies::clear() {
  copies_.clear();
  std::fill(std::begin(group_), std::end(group_), 0);
}

void AsyncCopies::issue(Warp& warp, const Op& op, LaneMask lanes, const Addresses& to, const Addresses& from,
                        uint32_t bytes, const uint32_t (&given)[kLanes]) {
  using Kind = MemoryAccess::Kind;
  LaunchState& launch = warp.block().launch();
  const bool all = lanes == kAllLanes, all_read = std::find(given, given + kLanes, 0u) == given + kLanes;
  Addresses to_offsets, from_offsets;
  const Region* target = all ? warp.region_for_all(Space::kShared, to, bytes, Kind::kWrite, to_offsets) : nullptr;
  const Region* source =
      all && all_read ? warp.region_for_all(Space::kGlobal, from, bytes, Kind::kRead, from_offsets) : nullptr;
  Copies& copies = copies_.emplace_back();
  copies.op = &op;
  copies.first_number = launch.copies;
  copies.bytes = bytes;
  copies.issued = lanes;
  copies.waiting = copies.landed = 0;
  uint8_t* const states = warp.block().shared().state.data();
  for (LaneMask left = lanes; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    // Lane by lane, for what one lane has begun to write another may not.
    if (target == nullptr || !all_bytes(states + to.of[lane], bytes, kInFlight, 0))
      warp.reach_in(op, lane, Space::kShared, to.of[lane], bytes, Kind::kWrite, false);
    copies.source[lane] = source;
    if (source != nullptr) copies.from[lane] = from_offsets.of[lane];
    if (given[lane] > 0 &&
        (source == nullptr || !all_bytes(source->state.data() + from_offsets.of[lane], bytes, kOutside, kWritten)))
      copies.source[lane] = &warp.source_of_copy(op, lane, from.of[lane], bytes, copies.from[lane]);
    copies.to[lane] = static_cast<uint32_t>(to.of[lane]);
    copies.given[lane] = static_cast<uint8_t>(given[lane]);
    copies.group[lane] = group_[lane];
    copies.waiting |= LaneMask{1} << lane;
    if (launch.options.observer != nullptr)
      launch.options.observer->on_copy_issued({warp.block().linear(), warp.thread(lane)}, launch.copies);
    ++launch.copies;
    set_states(states + to.of[lane], bytes, kInFlight);
    using When = Options::Copies;
    const When when = launch.options.copies;
    if (when == When::kEarly || (when == When::kMixed && launch.chance.below(2) == 0)) land(warp, copies, lane);
  }
}

void AsyncCopies::commit(LaneMask lanes) {
  for (int lane = 0; lane < kLanes; ++lane) group_[lane] += lanes >> lane & 1;
}

uint64_t AsyncCopies::number(const Copies& copies, int lane) {
  const LaneMask before = copies.issued & ((LaneMask{1} << lane) - 1);
  return copies.first_number + static_cast<uint64_t>(std::popcount(before));
}

// The source is read only now, so that one which is overwritten too early gives a wrong result.
void AsyncCopies::land(Warp& warp, Copies& copies, int lane) {
  copies.landed |= LaneMask{1} << lane;
  Block& block = warp.block();
  const uint32_t bytes = copies.bytes, given = copies.given[lane];
  uint8_t* to = block.shared().data.data() + copies.to[lane];
  const uint8_t* from = given > 0 ? copies.source[lane]->data.data() + copies.from[lane] : nullptr;
  if (given == 16) {
    std::memcpy(to, from, 16);
  } else {
    if (given > 0) std::memcpy(to, from, given);
    std::memset(to + given, 0, bytes - given);
  }
  const Options& options = block.launch().options;
  if (!options.check_in_flight) set_states(block.shared().state.data() + copies.to[lane], bytes, kWritten);
  if (Observer* observer = options.observer) {
    const ThreadId by{block.linear(), warp.thread(lane)};
    const uint64_t copy = number(copies, lane);
    if (given > 0)
      observer->on_copy_access(copy, {by, copies.op, Space::kGlobal, copies.source[lane]->base + copies.from[lane],
                                      given, MemoryAccess::Kind::kRead});
    observer->on_copy_access(copy, {by, copies.op, Space::kShared, copies.to[lane], bytes, MemoryAccess::Kind::kWrite});
  }
}

void AsyncCopies::finish(Warp& warp, Copies& copies, LaneMask lanes) {
  Block& block = warp.block();
  uint8_t* const states = block.shared().state.data();
  for (LaneMask left = lanes; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    if ((copies.landed >> lane & 1) == 0) land(warp, copies, lane);
    set_states(states + copies.to[lane], copies.bytes, kWritten);
    if (Observer* observer = block.launch().options.observer)
      observer->on_copy_waited({block.linear(), warp.thread(lane)}, number(copies, lane));
  }
  copies.waiting &= ~lanes;
}

void AsyncCopies::wait_groups(Warp& warp, LaneMask lanes, uint64_t newest) {
  for (Copies& copies : copies_) {
    LaneMask over = 0;  // not in one of the `newest` committed groups, nor in the open one
    for (LaneMask left = copies.waiting & lanes; left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      if (copies.group[lane] + newest < group_[lane]) over |= LaneMask{1} << lane;
    }
    finish(warp, copies, over);
  }
  std::erase_if(copies_, [](const Copies& copies) { return copies.waiting == 0; });
}

void AsyncCopies::wait_all(Warp& warp, LaneMask lanes) {
  for (Copies& copies : copies_) finish(warp, copies, copies.waiting & lanes);
  std::erase_if(copies_, [](const Copies& copies) { return copies.waiting == 0; });
}

void AsyncCopies::land_one(Warp& warp, uint64_t choice) {
  uint64_t count = 0;
  for (const Copies& copies : copies_) count += static_cast<uint64_t>(std::popcount(copies.waiting));
  if (count == 0) return;
  uint64_t skip = choice % count;
  for (Copies& copies : copies_)
    for (LaneMask left = copies.waiting; left != 0; left &= left - 1)
      if (skip-- == 0) {
        const int lane = std::countr_zero(left);
        if ((copies.landed >> lane & 1) == 0) land(warp, copies, lane);
        return;
      }
}

const Op* AsyncCopies::unfinished(LaneMask lanes) const {
  const auto found =
      std::find_if(copies_.begin(), copies_.end(), [&](const Copies& copies) { return (copies.waiting & lanes) != 0; });
  return found == copies_.end() ? nullptr : found->op;
}

}  // namespace annulus::cudasim
