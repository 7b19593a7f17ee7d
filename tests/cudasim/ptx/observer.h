#pragma once

#include <cstdint>
#include <span>

#include "tests/cudasim/ptx/fault.h"
#include "tests/cudasim/ptx/program.h"

namespace annulus::cudasim {

struct ThreadId {
  uint64_t block = 0;   // linear
  uint32_t thread = 0;  // linear within the block
};

struct MemoryAccess {
  enum class Kind : uint8_t { kRead, kWrite, kAtomic };
  ThreadId by;
  const Op* op;
  Space space;       // kGlobal, kShared or kLocal: generic addresses are resolved
  uint64_t address;  // of shared memory: from the block's first byte
  uint32_t bytes;
  Kind kind;
};

/// Sees what could race. A launch calls it from one thread, in the order in which things happen. `copy` numbers the
/// asynchronous copies of a launch; each is an actor of its own, ordered after its issue and before the wait. What a
/// call throws ends the launch.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_launch(const Program& /*program*/, Dim3 /*grid*/, Dim3 /*block*/) {}
  virtual void on_block_begin(uint64_t /*block*/, uint64_t /*shared_bytes*/) {}
  virtual void on_block_end(uint64_t /*block*/) {}
  virtual void on_access(const MemoryAccess& /*access*/) {}
  /// These threads of one block met: what each did before is before what each does after. Only what orders memory is
  /// told, which shuffles and votes do not.
  virtual void on_warp_sync(uint64_t /*block*/, std::span<const uint32_t> /*threads*/) {}
  virtual void on_barrier(uint64_t /*block*/, uint32_t /*barrier*/, std::span<const uint32_t> /*threads*/) {}
  /// bar.arrive: what they did before is before what the threads do that meet at the barrier, and no more.
  virtual void on_arrival(uint64_t /*block*/, uint32_t /*barrier*/, std::span<const uint32_t> /*threads*/) {}
  virtual void on_copy_issued(const ThreadId& /*by*/, uint64_t /*copy*/) {}
  virtual void on_copy_access(uint64_t /*copy*/, const MemoryAccess& /*access*/) {}
  virtual void on_copy_waited(const ThreadId& /*by*/, uint64_t /*copy*/) {}
  virtual void on_fence(const ThreadId& /*by*/, const Op& /*op*/) {}
};

}  // namespace annulus::cudasim
