// Kernels that are wrong must be reported, with the place of the fault.

#include <gtest/gtest.h>

#include <functional>

#include "tests/cudasim/compiled.h"

namespace annulus::cudasim {
namespace {

class CompiledFaults : public testing::Test {
 protected:
  Memory memory_;
  LoadedModule module_{compiled("faults"), memory_};
  Options options_;

  template <class... Values>
  DeviceFault fault_of(const char* kernel, Dim3 grid, Dim3 block, const Values&... values) {
    try {
      launch(module_.kernel(kernel), memory_, grid, block, arguments(values...), options_);
    } catch (const DeviceFault& fault) {
      return fault;
    }
    ADD_FAILURE() << kernel << " ran to its end";
    return {FaultKind::kLaunch, {}, "no fault"};
  }
  void expect_text(const DeviceFault& fault, const char* part) {
    EXPECT_NE(std::string(fault.what()).find(part), std::string::npos) << fault.what();
  }
  // The line of faults.cu that holds this text.
  void expect_line(const DeviceFault& fault, int line) {
    expect_text(fault, ("faults.cu:" + std::to_string(line)).c_str());
  }
};

TEST_F(CompiledFaults, OutOfBoundsByOne) {
  const uint64_t x = memory_.upload(std::vector<float>(100, 1.0f), "x"), y = memory_.allocate(404, "y");
  const DeviceFault fault = fault_of("one_too_far", {2}, {64}, y, x, 100);
  EXPECT_EQ(fault.kind(), FaultKind::kOutOfBounds);
  EXPECT_EQ(fault.place().thread.x, 36u);
  EXPECT_EQ(fault.place().block.x, 1u);
  expect_text(fault, "0 bytes past the end of x (400 bytes at");
  expect_line(fault, 5);
}

TEST_F(CompiledFaults, MisalignedVector) {
  const uint64_t x = memory_.upload(std::vector<float>(200, 1.0f), "x"), y = memory_.allocate(512, "y");
  const DeviceFault fault = fault_of("misaligned_vector", {1}, {32}, y, x);
  EXPECT_EQ(fault.kind(), FaultKind::kMisaligned);
  EXPECT_EQ(fault.place().instruction, "ld.global.v4.u32");
  expect_line(fault, 9);
}

TEST_F(CompiledFaults, UnwrittenSharedMemory) {
  const DeviceFault fault = fault_of("unwritten_shared", {1}, {64}, memory_.allocate(256, "y"));
  EXPECT_EQ(fault.kind(), FaultKind::kUninitialised);
  EXPECT_EQ(fault.place().thread.x, 63u);
  expect_text(fault, "byte 252 of ");
  expect_line(fault, 16);
}

TEST_F(CompiledFaults, BeyondASharedArray) {
  const uint64_t y = memory_.upload(std::vector<float>(32, 1.0f), "y");
  const DeviceFault fault = fault_of("beyond_shared", {1}, {32}, y);
  EXPECT_EQ(fault.kind(), FaultKind::kOutOfBounds);
  EXPECT_EQ(fault.place().thread.x, 31u);
  expect_text(fault, "0 bytes past the end of ");
}

TEST_F(CompiledFaults, UnwrittenGlobalMemory) {
  const DeviceFault fault =
      fault_of("one_too_far", {1}, {32}, memory_.allocate(400, "y"), memory_.allocate(400, "x"), 50);
  EXPECT_EQ(fault.kind(), FaultKind::kUninitialised);
  expect_text(fault, "byte 0 of x");
}

TEST_F(CompiledFaults, FreedMemory) {
  const uint64_t x = memory_.upload(std::vector<float>(100, 1.0f), "x"), y = memory_.allocate(404, "y");
  memory_.release(x);
  const DeviceFault fault = fault_of("one_too_far", {1}, {64}, y, x, 64);
  EXPECT_EQ(fault.kind(), FaultKind::kOutOfBounds);
  expect_text(fault, "in x, which was freed");
}

TEST_F(CompiledFaults, DeadlockAtBarriers) {
  for (uint64_t seed : {0, 1, 2}) {
    options_.seed = seed;
    const DeviceFault fault = fault_of("barriers_apart", {1}, {64}, memory_.allocate(256, "y"));
    EXPECT_EQ(fault.kind(), FaultKind::kDeadlock);
    expect_text(fault, "warp 0 lanes ffffffff of block 0 wait at bar.sync");
    expect_text(fault, "warp 1 lanes ffffffff of block 0 wait at bar.sync");
    expect_line(fault, 29);
    expect_line(fault, 31);
  }
}

TEST_F(CompiledFaults, ShuffleThatWaitsForOthers) {
  const DeviceFault fault = fault_of("shuffle_alone", {1}, {32}, memory_.allocate(128, "y"));
  EXPECT_EQ(fault.kind(), FaultKind::kDeadlock);
  expect_text(fault, "lanes 000000ff of block 0 wait for lanes of their warp at shfl.sync");
}

TEST_F(CompiledFaults, EndlessLoop) {
  options_.max_instructions = 100000;
  const DeviceFault fault = fault_of("endless", {1}, {32}, memory_.upload(std::vector<int>(1), "flag"));
  EXPECT_EQ(fault.kind(), FaultKind::kEndless);
}

TEST_F(CompiledFaults, LaunchesThatDoNotFit) {
  EXPECT_EQ(fault_of("endless", {1}, {2048}, uint64_t{0}).kind(), FaultKind::kLaunch);
  expect_text(fault_of("endless", {1}, {32}), "takes 1 arguments, was given 0");
  expect_text(fault_of("endless", {1}, {32}, 1), "argument 0 has 8 bytes, was given 4");
}

}  // namespace
}  // namespace annulus::cudasim
