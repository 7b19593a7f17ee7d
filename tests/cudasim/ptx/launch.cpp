#include "tests/cudasim/ptx/launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "tests/cudasim/ptx/block.h"
#include "tests/cudasim/ptx/decoder.h"

namespace annulus::cudasim {
namespace {

constexpr uint32_t kMaxThreads = 1024, kMaxSharedBytes = 227 * 1024;  // of a block, on the largest devices

[[noreturn]] void refuse(const Program& program, const std::string& message, FaultKind kind = FaultKind::kLaunch) {
  DeviceFault::Place place;
  place.kernel = program.kernel;
  place.one_thread = false;
  throw DeviceFault(kind, place, message);
}

Region place_arguments(const Program& program, const Arguments& arguments) {
  if (arguments.size() != program.parameters.size())
    refuse(program, fmt::format("takes {} arguments, was given {}", program.parameters.size(), arguments.size()));
  Region region("the kernel's parameters", 0, program.parameter_bytes);
  region.writable = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto [offset, size] = program.parameters[i];
    if (arguments[i].size() != size)
      refuse(program, fmt::format("argument {} has {} bytes, was given {}", i, size, arguments[i].size()));
    std::copy(arguments[i].begin(), arguments[i].end(), region.data.begin() + offset);
  }
  std::fill(region.state.begin(), region.state.end(), kWritten);
  return region;
}

void check_limits(const Program& program, Dim3 grid, Dim3 block, const Options& options) {
  const uint64_t threads = block.count();
  if (threads == 0 || grid.count() == 0) refuse(program, "launched with an empty grid or block");
  if (threads > kMaxThreads)
    refuse(program, fmt::format("launched with {} threads a block; at most {} fit", threads, kMaxThreads));
  if (program.max_threads > 0 && threads > program.max_threads)
    refuse(program,
           fmt::format("launched with {} threads a block, compiled for at most {}", threads, program.max_threads));
  uint64_t shared = options.dynamic_shared_bytes;
  for (const Program::SharedVariable& variable : program.shared) shared += variable.size;
  if (shared > kMaxSharedBytes)
    refuse(program, fmt::format("needs {} bytes of shared memory, a block has at most {}", shared, kMaxSharedBytes));
}

class Scheduler {
 public:
  explicit Scheduler(LaunchState& launch) : launch_(launch), waiting_(launch.grid.count()) {
    std::iota(waiting_.rbegin(), waiting_.rend(), uint64_t{0});
    if (shuffled() && !launch.options.blocks_begin_in_order)
      for (size_t i = waiting_.size(); i > 1; --i) std::swap(waiting_[i - 1], waiting_[launch_.chance.below(i)]);
  }

  void run() {
    const size_t places = std::min<size_t>(std::max(launch_.options.resident_blocks, 1u), waiting_.size());
    for (size_t i = 0; i < places; ++i) {
      resident_.push_back(std::make_unique<Block>(launch_));
      start_next(*resident_.back());
    }
    while (!resident_.empty()) {
      const size_t which = shuffled() ? launch_.chance.below(resident_.size()) : 0;
      Block& block = *resident_[which];
      advance(block);
      if (!block.finished()) continue;
      if (Observer* observer = launch_.options.observer) observer->on_block_end(block.linear());
      if (waiting_.empty())
        resident_.erase(resident_.begin() + static_cast<long>(which));
      else
        replace(which);
    }
  }

 private:
  bool shuffled() const { return launch_.options.seed != 0; }

  void start_next(Block& block) {
    block.start(waiting_.back());
    waiting_.pop_back();
  }

  // The places stay in the order in which their blocks began: the first is the one that waits for none of the others.
  void replace(size_t place) {
    start_next(*resident_[place]);
    const auto at = resident_.begin() + static_cast<long>(place);
    std::rotate(at, at + 1, resident_.end());
  }

  void advance(Block& block) {
    const std::vector<uint32_t>& ready = block.ready_warps();
    if (ready.empty()) block.report_deadlock();
    Chance& chance = launch_.chance;
    Warp& warp = block.warp(shuffled() ? ready[chance.below(ready.size())] : next_in_order(ready));
    // Short turns and long ones, so that a warp is sometimes far ahead and sometimes overtaken at every step.
    const uint64_t turn = shuffled() ? 1 + chance.below(uint64_t{1} << chance.below(11)) : 4096;
    launch_.executed += warp.run(turn);
    if (launch_.options.copies == Options::Copies::kMixed) warp.copies().land_one(warp, chance.next());
    if (launch_.executed > launch_.options.max_instructions) endless();
  }

  [[noreturn]] void endless() const {
    std::string where;
    for (const auto& block : resident_)
      for (const uint32_t warp : block->ready_warps()) where += block->warp(warp).whereabouts();
    refuse(launch_.program, fmt::format("has run {} warp instructions and no end:{}", launch_.executed, where),
           FaultKind::kEndless);
  }

  // The warps of a block in turn, for one may wait for what another will write.
  uint32_t next_in_order(const std::vector<uint32_t>& ready) {
    const auto next = std::upper_bound(ready.begin(), ready.end(), last_);
    last_ = next == ready.end() ? ready.front() : *next;
    return last_;
  }

  LaunchState& launch_;
  std::vector<uint64_t> waiting_;  // blocks that have not begun, the next one last
  std::vector<std::unique_ptr<Block>> resident_;
  uint32_t last_ = 0;
};

}  // namespace

LoadedModule::LoadedModule(std::string_view ptx, Memory& memory)
    : LoadedModule(std::make_shared<const Module>(parse_ptx(ptx)), memory, 0) {}

LoadedModule::LoadedModule(std::shared_ptr<const Module> module, Memory& memory, int device)
    : module_(std::move(module)) {
  for (const Variable& variable : module_->variables)
    if (variable.space == Space::kGlobal || variable.space == Space::kConst)
      addresses_[variable.name] = memory.allocate(variable.size, variable.name, device);
  for (const Variable& variable : module_->variables) {
    if (!addresses_.contains(variable.name)) continue;
    std::vector<uint8_t> bytes = variable.bytes;
    bytes.resize(variable.size);  // device variables without a value begin as zero
    for (const Variable::Pointer& pointer : variable.pointers) {
      const uint64_t target = address_of(pointer.symbol) + pointer.addend;
      std::memcpy(bytes.data() + pointer.offset, &target,
                  std::min<size_t>(sizeof(target), bytes.size() - pointer.offset));
    }
    const uint64_t address = addresses_.at(variable.name);
    memory.write(address, bytes.data(), bytes.size());
    memory.find(address)->writable = variable.space == Space::kGlobal;
  }
}

uint64_t LoadedModule::address_of(const std::string& variable) const {
  const auto found = addresses_.find(variable);
  if (found == addresses_.end())
    throw PtxError("the module has no variable " + variable + " in global or constant memory");
  return found->second;
}

const Program& LoadedModule::kernel(const std::string& name) {
  std::vector<const Function*> found;
  for (const auto& [full, function] : module_->functions)
    if (function.entry && full.find(name) != std::string::npos) {
      if (full == name) found.clear();
      found.push_back(&function);
      if (full == name) break;
    }
  if (found.size() != 1)
    throw PtxError(fmt::format("the module has {} kernels whose name contains '{}'", found.size(), name));
  std::unique_ptr<Program>& program = kernels_[found[0]->name];
  if (program == nullptr) program = std::make_unique<Program>(decode(*module_, *found[0], addresses_));
  return *program;
}

Statistics launch(const Program& program, Memory& memory, Dim3 grid, Dim3 block, const Arguments& arguments,
                  const Options& options) {
  check_limits(program, grid, block, options);
  LaunchState state{program,
                    memory,
                    options,
                    grid,
                    block,
                    place_arguments(program, arguments),
                    std::vector<Counter>(program.code.size()),
                    RunCounter(program.code.size()),
                    Chance(options.seed)};
  if (options.observer != nullptr) options.observer->on_launch(program, grid, block);
  Scheduler(state).run();
  state.runs.sum_up(state.counters);
  return summarise(program, state.counters);
}

}  // namespace annulus::cudasim
