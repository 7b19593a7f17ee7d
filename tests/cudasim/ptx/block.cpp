#include "tests/cudasim/ptx/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace annulus::cudasim {
namespace {

uint32_t part(const Dim3& of, char axis) { return axis == 'x' ? of.x : axis == 'y' ? of.y : of.z; }

}  // namespace

Block::Block(LaunchState& launch)
    : launch_(launch),
      shared_("shared memory", 0, uint64_t{launch.program.shared_bytes} + launch.options.dynamic_shared_bytes) {
  // The gaps between variables belong to nobody.
  std::fill(shared_.state.begin(), shared_.state.begin() + launch.program.shared_bytes, kOutside);
  for (const Program::SharedVariable& variable : launch.program.shared)
    std::fill_n(shared_.state.begin() + variable.offset, variable.size, kUnwritten);
  const uint32_t count = (threads() + kLanes - 1) / kLanes;
  for (uint32_t i = 0; i < count; ++i) warps_.push_back(std::make_unique<Warp>(*this, i));
}

void Block::start(uint64_t linear_index) {
  linear_ = linear_index;
  const Dim3& grid = launch_.grid;
  index_ = {static_cast<uint32_t>(linear_ % grid.x), static_cast<uint32_t>(linear_ / grid.x % grid.y),
            static_cast<uint32_t>(linear_ / grid.x / grid.y)};
  shared_.forget();
  if (Observer* observer = launch_.options.observer) observer->on_block_begin(linear_, shared_.size);
  std::fill(std::begin(barriers_), std::end(barriers_), Barrier{});
  for (uint32_t i = 0; i < warps_.size(); ++i) {
    const uint32_t left = threads() - i * kLanes;
    warps_[i]->start(left >= kLanes ? kAllLanes : (LaneMask{1} << left) - 1);
  }
}

bool Block::finished() const {
  return std::all_of(warps_.begin(), warps_.end(), [](const auto& warp) { return warp->finished(); });
}

const std::vector<uint32_t>& Block::ready_warps() {
  ready_.clear();
  for (uint32_t i = 0; i < warps_.size(); ++i)
    if (warps_[i]->ready()) ready_.push_back(i);
  return ready_;
}

uint32_t Block::alive() const {
  uint32_t count = 0;
  for (const auto& warp : warps_) count += static_cast<uint32_t>(std::popcount(warp->alive()));
  return count;
}

void Block::arrive(uint32_t barrier, uint32_t threads, uint32_t expected) {
  Barrier& state = barriers_[barrier];
  if (state.arrived > 0 && state.expected != expected) report_counts(barrier, expected);
  state.arrived += threads;
  state.expected = expected;
  pass_if_complete(barrier);
}

void Block::threads_left() {
  for (uint32_t barrier = 0; barrier < 16; ++barrier)
    if (barriers_[barrier].arrived > 0) pass_if_complete(barrier);
}

void Block::pass_if_complete(uint32_t barrier) {
  Barrier& state = barriers_[barrier];
  if (state.arrived < (state.expected == 0 ? alive() : state.expected)) return;
  if (Observer* observer = launch_.options.observer) {
    std::vector<uint32_t> threads;
    for (const auto& warp : warps_) warp->add_waiting(barrier, threads);
    observer->on_barrier(linear_, barrier, threads);
  }
  state = {0, 0, {}, state.votes};
  for (const auto& warp : warps_) warp->pass_barrier(barrier);
}

void Block::report(FaultKind kind, const std::string& message) const {
  std::string where;
  for (const auto& warp : warps_) where += warp->whereabouts();
  DeviceFault::Place place;
  place.kernel = launch_.program.kernel;
  place.block = index_;
  place.one_thread = false;
  throw DeviceFault(kind, place, fmt::format("{}:{}", message, where));
}

void Block::report_deadlock() const { report(FaultKind::kDeadlock, "deadlock, no thread of a block can go on"); }

void Block::report_counts(uint32_t barrier, uint32_t expected) const {
  const auto count = [](uint32_t expected_there) {
    return expected_there == 0 ? std::string("all") : fmt::format("{}", expected_there);
  };
  report(FaultKind::kDivergence,
         fmt::format("a thread comes to barrier {} as one of {}, others wait there as some of {}", barrier,
                     count(expected), count(barriers_[barrier].expected)));
}

Dim3 Block::thread_index(uint32_t linear) const {
  const Dim3& block = launch_.block;
  return {linear % block.x, linear / block.x % block.y, linear / block.x / block.y};
}

uint32_t Block::special(const std::string& name, uint32_t warp, int lane) const {
  const char axis = name.back();
  const uint32_t bit = uint32_t{1} << lane;
  if (name.starts_with("%tid.")) return part(thread_index(warp * kLanes + static_cast<uint32_t>(lane)), axis);
  if (name.starts_with("%ntid.")) return part(launch_.block, axis);
  if (name.starts_with("%ctaid.")) return part(index_, axis);
  if (name.starts_with("%nctaid.")) return part(launch_.grid, axis);
  if (name == "%laneid") return static_cast<uint32_t>(lane);
  if (name == "%warpid") return warp;
  if (name == "%nwarpid") return static_cast<uint32_t>(warps_.size());
  if (name == "%lanemask_eq") return bit;
  if (name == "%lanemask_lt") return bit - 1;
  if (name == "%lanemask_le") return bit | (bit - 1);
  if (name == "%lanemask_gt") return ~(bit | (bit - 1));
  if (name == "%lanemask_ge") return ~(bit - 1);
  if (name == "%smid" || name == "%gridid") return 0;
  if (name == "%nsmid") return 1;
  if (name == "%dynamic_smem_size") return launch_.options.dynamic_shared_bytes;
  if (name == "%total_smem_size") return static_cast<uint32_t>(shared_.size);
  throw PtxError(fmt::format("kernel {}: the special register {} is not known", launch_.program.kernel, name));
}

std::string Block::describe_shared(uint64_t address) const {
  const Program& program = launch_.program;
  const uint64_t dynamic = launch_.options.dynamic_shared_bytes;
  std::string best = fmt::format("{} bytes of shared memory", shared_.size);
  uint64_t nearest = ~uint64_t{0};
  const auto consider = [&](const std::string& name, uint64_t offset, uint64_t size) {
    const uint64_t distance = address < offset          ? offset - address
                              : address < offset + size ? 0
                                                        : address - (offset + size) + 1;
    if (distance >= nearest) return;
    nearest = distance;
    const std::string whole = fmt::format("{} ({} bytes)", name, size);
    best = distance == 0      ? fmt::format("byte {} of {}", address - offset, whole)
           : address < offset ? fmt::format("{} bytes before {}", distance, whole)
                              : fmt::format("{} bytes past the end of {}", distance - 1, whole);
  };
  for (const Program::SharedVariable& variable : program.shared)
    consider(variable.name, variable.offset, variable.size);
  if (dynamic > 0) consider("the dynamic shared memory " + program.dynamic_name, program.shared_bytes, dynamic);
  return best;
}

}  // namespace annulus::cudasim
