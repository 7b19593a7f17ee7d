#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "tests/cudasim/races/race_detector.h"

namespace annulus::cudasim {

// Instructions that differ in what they promise to other threads.
enum Promise : uint8_t {
  kPlain = 0,
  kRelaxed = kStrong,
  kAcquires = kStrong | kAcquire,
  kReleases = kStrong | kRelease,
  kFence = kStrong | kAcquire | kRelease,
  kRelaxedInBlock = kRelaxed | kBlockScope,
  kAcquiresInBlock = kAcquires | kBlockScope,
  kReleasesInBlock = kReleases | kBlockScope,
  kFenceOfBlock = kFence | kBlockScope,
};

inline constexpr uint32_t kThreads = 128;

/// Accesses told to a race detector by hand, as those of a kernel of eight blocks. Addresses below 1024 are shared
/// memory's.
class Races : public testing::Test {
 protected:
  using Kind = MemoryAccess::Kind;

  Races() : races_(memory_) {
    program_.kernel = "test";
    program_.code.resize(16);
    for (size_t i = 0; i < 16; ++i) program_.code[i].order = static_cast<uint8_t>(i);
    x_ = memory_.allocate(256, "x");
    flag_ = memory_.allocate(4, "flag");
    data_ = memory_.allocate(4, "data");
    start();
  }

  void start() {
    races_.on_launch(program_, {8}, {kThreads});
    for (uint64_t block = 0; block < 8; ++block) races_.on_block_begin(block, 1024);
  }
  MemoryAccess access(ThreadId by, uint64_t address, uint32_t bytes, Kind kind, int promise) {
    const Space space = address < 1024 ? Space::kShared : Space::kGlobal;
    return {by, &program_.code[static_cast<size_t>(promise)], space, address, bytes, kind};
  }
  void read(ThreadId by, uint64_t address, int promise = kPlain, uint32_t bytes = 4) {
    races_.on_access(access(by, address, bytes, Kind::kRead, promise));
  }
  void write(ThreadId by, uint64_t address, int promise = kPlain, uint32_t bytes = 4) {
    races_.on_access(access(by, address, bytes, Kind::kWrite, promise));
  }
  void atomic(ThreadId by, uint64_t address, int promise = kRelaxed) {
    races_.on_access(access(by, address, 4, Kind::kAtomic, promise));
  }
  void fence(ThreadId by, int promise = kFence) { races_.on_fence(by, program_.code[static_cast<size_t>(promise)]); }
  void barrier(uint64_t block, const std::vector<uint32_t>& threads) { races_.on_barrier(block, 0, threads); }
  uint64_t issue(ThreadId by) {
    races_.on_copy_issued(by, copies_);
    return copies_++;
  }
  void land(uint64_t copy, ThreadId by, uint64_t to, uint64_t from) {
    races_.on_copy_access(copy, access(by, from, 4, Kind::kRead, kPlain));
    races_.on_copy_access(copy, access(by, to, 4, Kind::kWrite, kPlain));
  }

  Memory memory_;
  RaceDetector races_;
  Program program_;
  uint64_t x_, flag_, data_, copies_ = 0;
};

#define EXPECT_RACE(action) EXPECT_THROW(action, DeviceFault)
#define EXPECT_FINE(action) EXPECT_NO_THROW(action)

}  // namespace annulus::cudasim
