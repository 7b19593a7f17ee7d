#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/cudasim/ptx/memory.h"
#include "tests/cudasim/ptx/observer.h"
#include "tests/cudasim/races/shadow.h"
#include "tests/cudasim/races/thread_clock.h"

namespace annulus::cudasim {

/// How far each queue of work (a stream, a host thread) had come: entry q is the number of q's last operation that is
/// known to be over.
using QueueClock = std::vector<uint32_t>;

/// Throws DeviceFault (kRace) at the first of two accesses to one place of global or shared memory that nothing orders,
/// in whatever order this run happened to do them. What orders: within a kernel program order, barriers, __syncwarp(),
/// waits for cp.async, fences with strong accesses (volatile, relaxed, acquire, release, atomics); between operations
/// the clocks that begin() is given. Programs must outlive the detector.
class RaceDetector : public Observer {
 public:
  explicit RaceDetector(const Memory& memory) : memory_(memory) {}

  /// An operation starts: number `clock[queue]` of its queue, after all that the clock says. Returns its name here.
  /// Launches without such a call come one after the other.
  uint32_t begin(const std::string& name, uint32_t queue, const QueueClock& clock);
  /// What follows is again part of that operation.
  void resume(uint32_t operation) { current_ = operation; }
  /// The operation itself accesses global memory, as a copy does.
  void touch(uint64_t address, uint64_t bytes, MemoryAccess::Kind kind);
  /// The allocation is gone.
  void forget(uint64_t address) {
    if (Memory::slot_of(address) < shadows_.size()) shadows_[Memory::slot_of(address)] = nullptr;
  }

  void on_launch(const Program& program, Dim3 grid, Dim3 block) override;
  void on_block_begin(uint64_t block, uint64_t shared_bytes) override;
  void on_block_end(uint64_t block) override;
  void on_access(const MemoryAccess& access) override;
  void on_warp_sync(uint64_t block, std::span<const uint32_t> threads) override;
  void on_barrier(uint64_t block, uint32_t barrier, std::span<const uint32_t> threads) override;
  void on_arrival(uint64_t block, uint32_t barrier, std::span<const uint32_t> threads) override;
  void on_copy_issued(const ThreadId& by, uint64_t copy) override;
  void on_copy_access(uint64_t copy, const MemoryAccess& access) override;
  void on_copy_waited(const ThreadId& by, uint64_t copy) override;
  void on_fence(const ThreadId& by, const Op& op) override;

 private:
  struct Operation {
    std::string name;
    uint32_t queue;
    QueueClock clock;
    const Program* program;  // null: not a kernel
    Dim3 block;
  };
  struct ResidentBlock {
    ResidentBlock(uint32_t block, uint32_t threads, uint64_t shared_bytes)
        : clocks(block, threads), shared(shared_bytes) {}
    BlockClocks clocks;
    Shadow shared;
    std::unordered_map<uint64_t, Handed> handovers;  // by address in shared memory
    Known arrived[16];                               // at each barrier
  };

  ResidentBlock& resident(uint64_t block);
  Shadow& shadow_of(const Region& region);
  CopyClock& copy_clock(uint64_t copy) { return copies_[copy - first_copy_]; }
  bool operation_known(const Epoch& epoch) const;
  void pass_on(ResidentBlock& block, const MemoryAccess& access);
  template <class Knows>
  void check(const MemoryAccess& access, ResidentBlock* block, Epoch epoch, Knows knows);
  Epoch epoch_of(const MemoryAccess& access, uint32_t actor, uint32_t time) const;
  [[noreturn]] void report(const Epoch& now, const Epoch& earlier, const std::string& where) const;
  std::string tell(const Epoch& epoch) const;

  const Memory& memory_;
  std::vector<Operation> operations_{1};
  uint32_t current_ = 0;
  bool told_of_operations_ = false;
  std::unordered_map<uint64_t, std::unique_ptr<ResidentBlock>> blocks_;
  uint64_t last_block_ = ~uint64_t{0};
  ResidentBlock* last_resident_ = nullptr;
  std::vector<std::unique_ptr<Shadow>> shadows_;    // by number of the allocation
  std::unordered_map<uint64_t, Handed> handovers_;  // by address in global memory, of one operation
  std::deque<CopyClock> copies_;                    // from number first_copy_ on; those waited for know nothing
  uint64_t first_copy_ = 0;
};

}  // namespace annulus::cudasim
