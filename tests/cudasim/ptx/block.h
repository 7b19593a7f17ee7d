#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/cudasim/ptx/chance.h"
#include "tests/cudasim/ptx/fault.h"
#include "tests/cudasim/ptx/launch.h"
#include "tests/cudasim/ptx/memory.h"
#include "tests/cudasim/ptx/warp.h"

namespace annulus::cudasim {

/// What all blocks of a launch share.
struct LaunchState {
  const Program& program;
  Memory& memory;
  const Options& options;
  Dim3 grid, block;
  Region parameters;
  std::vector<Counter> counters;
  RunCounter runs;
  Chance chance;
  uint64_t executed = 0;  // warp instructions
  uint64_t copies = 0;    // asynchronous copies issued
};

/// A resident block: its warps, shared memory and barriers. Serves one block of the grid after another.
class Block {
 public:
  explicit Block(LaunchState& launch);

  void start(uint64_t linear_index);
  bool finished() const;
  /// The warps that can go on.
  const std::vector<uint32_t>& ready_warps();
  Warp& warp(uint32_t index) { return *warps_[index]; }

  /// So many threads have come to the barrier. `expected`: how many it takes, 0 for all that live.
  void arrive(uint32_t barrier, uint32_t threads, uint32_t expected);
  /// Lanes ended, which may complete a barrier.
  void threads_left();
  [[noreturn]] void report_deadlock() const;

  LaunchState& launch() { return launch_; }
  const LaunchState& launch() const { return launch_; }
  Region& shared() { return shared_; }
  uint64_t linear() const { return linear_; }
  const Dim3& index() const { return index_; }
  Dim3 thread_index(uint32_t linear) const;
  /// The value of %tid.x and the like for a thread.
  uint32_t special(const std::string& name, uint32_t warp, int lane) const;
  /// What lies at or near an address of shared memory.
  std::string describe_shared(uint64_t address) const;
  uint32_t threads() const { return static_cast<uint32_t>(launch_.block.count()); }

  /// bar.red: every fragment adds its lanes' predicates, read when the barrier is complete.
  struct Votes {
    uint32_t yes = 0, total = 0;
  };
  Votes& votes(uint32_t barrier) { return barriers_[barrier].votes; }
  const Votes& result(uint32_t barrier) const { return barriers_[barrier].result; }

 private:
  struct Barrier {
    uint32_t arrived = 0, expected = 0;
    Votes votes, result;
  };
  void pass_if_complete(uint32_t barrier);
  [[noreturn]] void report(FaultKind kind, const std::string& message) const;
  [[noreturn]] void report_counts(uint32_t barrier, uint32_t expected) const;
  uint32_t alive() const;

  LaunchState& launch_;
  Region shared_;
  uint64_t linear_ = 0;
  Dim3 index_{0, 0, 0};
  Barrier barriers_[16];
  std::vector<std::unique_ptr<Warp>> warps_;
  std::vector<uint32_t> ready_;
};

}  // namespace annulus::cudasim
