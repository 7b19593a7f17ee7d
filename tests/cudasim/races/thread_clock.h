#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "tests/cudasim/races/epoch.h"

namespace annulus::cudasim {

using Times = std::vector<uint32_t>;                                   // by actor of a block
using OtherBlocks = std::map<uint32_t, std::shared_ptr<const Times>>;  // shared, for most know the same of them

/// What a thread knows of others: for each actor (races/epoch.h) the time of its last access that is ordered before
/// what the thread does now. A vector clock (Mattern 1989) that the threads of a block share while they know the same,
/// as in FastTrack (Flanagan and Freund, PLDI 2009).
struct Knowledge {
  Times block;         // of its own
  OtherBlocks others;  // heard of through strong accesses

  void merge(const Knowledge& more);
};
using Known = std::shared_ptr<const Knowledge>;

/// What strong writes hand to whoever reads them: what their writers knew. By block, because the reader's may be
/// another.
struct Handover {
  OtherBlocks device;                      // for everybody
  std::map<uint32_t, OtherBlocks> within;  // for the threads of one block, by its number

  void merge(const Handover& more);
};
/// Shared by threads that have met; null: nothing.
using Handed = std::shared_ptr<const Handover>;

struct ThreadClock {
  Known known;
  uint32_t time = 1;
  uint32_t copies_issued = 0, copies_waited = 0;
  Handed released;  // by the last fence: what the next strong writes hand over
  Handed read;      // by strong reads: known from the next fence on
};

/// What an asynchronous copy comes after: all that its thread did and knew when it was issued.
struct CopyClock {
  Known known;
  uint32_t thread, time, copies_waited;  // of the thread, at the issue
  uint32_t number;                       // among the thread's
};

/// Both, where one of them may be nothing.
Handed merged(const Handed& a, const Handed& b);

/// A block's threads while it runs.
class BlockClocks {
 public:
  BlockClocks(uint32_t block, uint32_t threads);

  ThreadClock& operator[](uint32_t thread) { return clocks_[thread]; }
  uint32_t threads() const { return static_cast<uint32_t>(clocks_.size()); }
  bool knows(uint32_t thread, const Epoch& epoch) const {
    const ThreadClock& clock = clocks_[thread];
    return (epoch.block == block_ && epoch.actor == thread) ||
           knows(*clock.known, thread, ~0u, clock.copies_waited, epoch);
  }
  bool knows(const CopyClock& copy, const Epoch& epoch) const {
    return knows(*copy.known, copy.thread, copy.time, copy.copies_waited, epoch);
  }
  CopyClock issue_copy(uint32_t thread);
  /// What each of them did is known to all of them from now on, and what those did that arrived. What one of them
  /// released by a fence, or read before one, counts for all: fences of all threads have one order (fence.sc).
  void meet(std::span<const uint32_t> threads, const Known& arrived = nullptr);
  /// What these threads and those before them know.
  Known arrive(std::span<const uint32_t> threads, const Known& before);
  /// What the thread has to hand over now.
  Handed handover(uint32_t thread, bool block_scope);
  /// The thread knows what it was handed.
  void accept(uint32_t thread, const Handed& handed, bool block_scope);

 private:
  bool knows(const Knowledge& known, uint32_t thread, uint32_t time, uint32_t copies, const Epoch& epoch) const;
  std::shared_ptr<Knowledge> together(std::span<const uint32_t> threads) const;
  void share(std::span<const uint32_t> threads, Handed ThreadClock::*what);

  uint32_t block_;
  std::vector<ThreadClock> clocks_;
};

}  // namespace annulus::cudasim
