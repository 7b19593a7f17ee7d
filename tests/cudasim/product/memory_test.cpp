// Devices, their memory and their streams, through the table of the product's plugin.
#include <numeric>

#include "tests/cudasim/product/gpu.h"
#include "tests/cudasim/simulated.h"

namespace annulus::cudasim {
namespace {

const DeviceOps& ops() { return product(); }

bool says(DeviceError error, const std::string& what) { return std::string(ops().error_text(error)).starts_with(what); }

TEST(ProductMemory, TheTableSaysWhatItIs) {
  EXPECT_EQ(ops().abi, kDeviceAbi);
  EXPECT_EQ(ops().bytes, static_cast<int32_t>(sizeof(DeviceOps)));
  EXPECT_EQ(std::string(ops().architectures), "80, 90a");
  EXPECT_EQ(ops().compute_capability, 80);
  EXPECT_GE(ops().runtime_version, 13000);
  EXPECT_TRUE(std::string(ops().libraries).starts_with("CUDA 13.")) << ops().libraries;
}

TEST(ProductMemory, WithoutADriverEverythingSaysSo) {
  const DeviceSummary summary = ops().summary();
  EXPECT_EQ(summary.state, DeviceState::kNoDriver);
  EXPECT_EQ(summary.driver_version, 0);
  EXPECT_EQ(summary.count, 0);
  void* memory = nullptr;
  DeviceStream stream = nullptr;
  DeviceFacts facts;
  for (const DeviceError error : {ops().allocate(&memory, 256), ops().open_stream(&stream), ops().select(0),
                                  ops().facts(0, &facts), ops().f32.add(nullptr, nullptr, nullptr, 4, nullptr)}) {
    EXPECT_NE(error, 0);
    EXPECT_TRUE(says(error, "cudaErrorInsufficientDriver: "));
  }
  EXPECT_EQ(memory, nullptr);
}

TEST(ProductMemory, DevicesAreCountedAndDescribed) {
  EXPECT_EQ(text_of(fault_in(1, 3,
                             [](int rank) {
                               const DeviceSummary summary = ops().summary();
                               EXPECT_EQ(summary.state, DeviceState::kReady);
                               EXPECT_GE(summary.driver_version, ops().runtime_version);
                               EXPECT_EQ(summary.count, 3);
                               EXPECT_EQ(summary.error, 0);
                               DeviceFacts facts = {};
                               EXPECT_EQ(ops().facts(rank, &facts), 0);
                               EXPECT_EQ(std::string(facts.name), "simulated A100");
                               EXPECT_EQ(facts.memory_bytes, int64_t{1} << 30);
                               EXPECT_EQ(facts.compute_capability, 80);
                               for (const int32_t none : {-1, 3}) {
                                 EXPECT_NE(ops().facts(none, &facts), 0);
                                 const DeviceError error = ops().select(none);
                                 EXPECT_NE(error, 0);
                                 EXPECT_TRUE(says(error, "cudaErrorInvalidDevice: "));
                               }
                             })),
            "");
}

TEST(ProductMemory, IsOfTheSelectedDevice) {
  EXPECT_EQ(text_of(fault_in(2, 2,
                             [](int rank) {
                               if (rank == 1) return;
                               Simulation& simulation = Simulation::current();
                               void *zero = nullptr, *one = nullptr;
                               EXPECT_EQ(ops().allocate(&zero, 1000), 0);
                               EXPECT_EQ(ops().select(1), 0);
                               EXPECT_EQ(ops().allocate(&one, 3000), 0);
                               EXPECT_EQ(reinterpret_cast<uintptr_t>(zero) % 256, 0u);
                               EXPECT_EQ(simulation.used_bytes(0), 1000u);
                               EXPECT_EQ(simulation.used_bytes(1), 3000u);
                               EXPECT_EQ(ops().release(one), 0);
                               EXPECT_EQ(ops().release(zero), 0);
                               EXPECT_EQ(simulation.used_bytes(0) + simulation.used_bytes(1), 0u);
                             })),
            "");
}

// What a call has said is not said again by the next one.
TEST(ProductMemory, ThatThereIsNotIsRefusedAndTheNextCallIsWell) {
  in_all_schedules([](Gpu& gpu) {
    void* memory = nullptr;
    const DeviceError error = ops().allocate(&memory, int64_t{2} << 30);
    EXPECT_TRUE(says(error, "cudaErrorMemoryAllocation: "));
    EXPECT_EQ(memory, nullptr);
    float* const x = gpu.up<float>(std::vector<double>(8, 1.0));
    EXPECT_EQ(ops().allocate(&memory, 512), 0);
    EXPECT_EQ(ops().release(memory), 0);
    EXPECT_NE(ops().release(memory), 0);
    EXPECT_NE(ops().select(5), 0);
    gpu.ran(ops().f32.add(x, x, x, 8, gpu.stream()));
    EXPECT_EQ(gpu.down(x, 8), std::vector<double>(8, 2.0));
    EXPECT_EQ(ops().release(nullptr), 0);
  });
}

TEST(ProductMemory, CopiesGoBothWaysAndAcross) {
  in_all_schedules([](Gpu& gpu) {
    std::vector<double> values(1001);
    std::iota(values.begin(), values.end(), 1.0);
    const float* const x = gpu.up<float>(values);
    float* const y = gpu.room<float>(1001);
    gpu.ran(ops().copy(y, x, 4004, gpu.stream()));
    gpu.ran(ops().fill_zero(y + 3, 5, gpu.stream()));  // bytes: one number, and the lowest byte of the next
    const auto got = gpu.down(y, 1001);
    values[3] = 0.0;
    EXPECT_EQ(got, values) << "5.0f ends in a byte of zeros";
    gpu.ran(ops().copy(nullptr, nullptr, 0, gpu.stream()));
    gpu.ran(ops().fill_zero(nullptr, 0, gpu.stream()));
  });
}

// Its memory is released while kernels may still be at work on it.
TEST(ProductMemory, ReleaseWaitsForTheDevice) {
  in_all_schedules([](Gpu& gpu) {
    void *memory = nullptr, *more = nullptr;
    const std::vector<float> ones(1024, 1.0f);
    gpu.ran(ops().allocate(&memory, 4096));
    gpu.ran(ops().allocate(&more, 4096));
    auto *const x = static_cast<float*>(memory), *const y = static_cast<float*>(more);
    gpu.ran(ops().copy(x, ones.data(), 4096, gpu.stream()));
    for (int i = 0; i < 3; ++i) gpu.ran(ops().f32.add(i == 0 ? y : x, x, x, 1024, gpu.stream()));
    gpu.ran(ops().release(memory));
    EXPECT_EQ(gpu.down(y, 1024), std::vector<double>(1024, 2.0));
    gpu.ran(ops().release(more));
  });
}

// Streams are ordered by finish() alone.
TEST(ProductMemory, WorkOfTwoStreamsNeedsAWait) {
  for (uint64_t schedule = 0; schedule < kSchedules; ++schedule)
    for (const bool waits : {true, false}) {
      const std::string fault = text_of(fault_in(schedule, 1, [&](int) {
        Gpu first, second;
        const float* const x = first.up<float>(std::vector<double>(64, 1.0));
        float* const y = first.room<float>(64);
        first.ran(ops().f32.add(y, x, x, 64, first.stream()));
        if (waits) first.ran(ops().finish(first.stream()));
        second.ran(ops().f32.add(y, y, y, 64, second.stream()));
        if (waits) {
          EXPECT_EQ(second.down(y, 64), std::vector<double>(64, 4.0));
        } else {
          ops().finish(second.stream());
        }
      }));
      if (waits) {
        EXPECT_EQ(fault, "");
      } else {
        EXPECT_TRUE(fault.find("race on") != std::string::npos || fault.find("nobody has written") != std::string::npos)
            << fault;
      }
      if (!waits) break;
    }
}

// A token beyond the table, which only the kernel sees.
TEST(ProductMemory, WhatAKernelDoesWrongComesOutOfALaterCall) {
  const std::string fault = text_of(fault_in(4, 1, [](int) {
    Gpu gpu;
    const float* const table = gpu.up<float>(std::vector<double>(3 * 8, 1.0));
    const int32_t* const tokens = gpu.up<int32_t>(std::vector<int64_t>{0, 3});
    float* const y = gpu.room<float>(2 * 8);
    gpu.ran(ops().f32.embedding_forward(y, table, tokens, 2, 8, gpu.stream()));
    EXPECT_NE(ops().finish(gpu.stream()), 0);
    EXPECT_NE(ops().fill_zero(y, 4, gpu.stream()), 0);
  }));
  EXPECT_NE(fault.find("0 bytes past the end of allocation"), std::string::npos) << fault;
  EXPECT_NE(fault.find("embedding.cu:"), std::string::npos) << fault;
}

}  // namespace
}  // namespace annulus::cudasim
