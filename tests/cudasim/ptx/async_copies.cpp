#include "tests/cudasim/ptx/async_copies.h"

#include <algorithm>
#include <cstring>

#include "tests/cudasim/ptx/block.h"
#include "tests/cudasim/ptx/warp.h"

namespace annulus::cudasim {

void AsyncCopies::clear() {
  copies_.clear();
  std::fill(std::begin(group_), std::end(group_), 0);
}

void AsyncCopies::issue(Warp& warp, const Op& op, int lane, uint64_t to, uint64_t from, uint32_t bytes,
                        uint32_t given) {
  LaunchState& launch = warp.block().launch();
  const Bytes target = warp.reach_in(op, lane, Space::kShared, to, bytes, MemoryAccess::Kind::kWrite, false);
  if (given > 0) warp.reach_in(op, lane, Space::kGlobal, from, bytes, MemoryAccess::Kind::kRead, false);
  if (Observer* observer = launch.options.observer)
    observer->on_copy_issued({warp.block().linear(), warp.thread(lane)}, launch.copies);
  std::memset(target.state, kInFlight, bytes);
  copies_.push_back({&op, to, from, group_[lane], launch.copies++, bytes, given, lane, false});
  using Copies = Options::Copies;
  const Copies when = launch.options.copies;
  if (when == Copies::kEarly || (when == Copies::kMixed && launch.chance.below(2) == 0)) land(warp, copies_.back());
}

void AsyncCopies::commit(LaneMask lanes) {
  for (int lane = 0; lane < kLanes; ++lane) group_[lane] += lanes >> lane & 1;
}

// The source is read only now, so that one which is overwritten too early gives a wrong result.
void AsyncCopies::land(Warp& warp, Copy& copy) {
  copy.landed = true;
  Block& block = warp.block();
  uint8_t* to = block.shared().data.data() + copy.to;
  if (copy.given > 0) {
    const Bytes source =
        warp.reach_in(*copy.op, copy.lane, Space::kGlobal, copy.from, copy.bytes, MemoryAccess::Kind::kRead, false);
    std::memcpy(to, source.data, copy.given);
  }
  std::memset(to + copy.given, 0, copy.bytes - copy.given);
  if (!block.launch().options.check_in_flight) std::memset(block.shared().state.data() + copy.to, kWritten, copy.bytes);
  if (Observer* observer = block.launch().options.observer) {
    const ThreadId by{block.linear(), warp.thread(copy.lane)};
    if (copy.given > 0)
      observer->on_copy_access(copy.number,
                               {by, copy.op, Space::kGlobal, copy.from, copy.given, MemoryAccess::Kind::kRead});
    observer->on_copy_access(copy.number,
                             {by, copy.op, Space::kShared, copy.to, copy.bytes, MemoryAccess::Kind::kWrite});
  }
}

void AsyncCopies::finish(Warp& warp, Copy& copy) {
  if (!copy.landed) land(warp, copy);
  Block& block = warp.block();
  std::memset(block.shared().state.data() + copy.to, kWritten, copy.bytes);
  if (Observer* observer = block.launch().options.observer)
    observer->on_copy_waited({block.linear(), warp.thread(copy.lane)}, copy.number);
}

void AsyncCopies::wait_groups(Warp& warp, LaneMask lanes, uint64_t newest) {
  std::erase_if(copies_, [&](Copy& copy) {
    // Its group is one of the `newest` committed ones, or is still open.
    if ((lanes >> copy.lane & 1) == 0 || copy.group + newest >= group_[copy.lane]) return false;
    finish(warp, copy);
    return true;
  });
}

void AsyncCopies::wait_all(Warp& warp, LaneMask lanes) {
  std::erase_if(copies_, [&](Copy& copy) {
    if ((lanes >> copy.lane & 1) == 0) return false;
    finish(warp, copy);
    return true;
  });
}

void AsyncCopies::land_one(Warp& warp, uint64_t choice) {
  if (copies_.empty()) return;
  Copy& copy = copies_[choice % copies_.size()];
  if (!copy.landed) land(warp, copy);
}

const Op* AsyncCopies::unfinished(LaneMask lanes) const {
  const auto found =
      std::find_if(copies_.begin(), copies_.end(), [&](const Copy& copy) { return lanes >> copy.lane & 1; });
  return found == copies_.end() ? nullptr : found->op;
}

}  // namespace annulus::cudasim
