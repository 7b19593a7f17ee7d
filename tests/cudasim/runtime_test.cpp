// The simulated runtime: what programs see of it, and what it finds in them.

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/cudasim/kernels/runtime_kernels.h"
#include "tests/cudasim/simulated.h"

namespace annulus::cudasim {
namespace {

constexpr int kN = 300;

std::string fault_of(uint64_t schedule, int ranks, const std::function<void(int)>& body,
                     SimulationOptions options = {}) {
  return text_of(fault_in(schedule, ranks, body, options));
}

struct Buffers {
  float *x, *y;
  cudaStream_t first, second;
  std::vector<float> host = std::vector<float>(kN);

  Buffers() {
    cudaMalloc(reinterpret_cast<void**>(&x), kN * 4);
    cudaMalloc(reinterpret_cast<void**>(&y), kN * 4);
    cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    for (int i = 0; i < kN; ++i) host[static_cast<size_t>(i)] = static_cast<float>(i);
  }
  void up(float* to, cudaStream_t stream) { cudaMemcpyAsync(to, host.data(), kN * 4, cudaMemcpyHostToDevice, stream); }
};

TEST(Runtime, AKernelRunsAndItsResultComesBack) {
  for (uint64_t schedule = 0; schedule < 20; ++schedule) {
    const std::string fault = fault_of(schedule, 2, [](int rank) {
      Buffers b;
      b.up(b.x, b.first);
      add(b.y, b.x, static_cast<float>(rank), kN, b.first);
      std::vector<float> got(kN, -1.0f);
      cudaMemcpyAsync(got.data(), b.y, kN * 4, cudaMemcpyDeviceToHost, b.first);
      ASSERT_EQ(cudaStreamSynchronize(b.first), cudaSuccess);
      for (int i = 0; i < kN; ++i) ASSERT_EQ(got[static_cast<size_t>(i)], static_cast<float>(i + rank));
      int count = 0;
      ASSERT_EQ(cudaMemcpy(&count, launches_on_device(), 4, cudaMemcpyDeviceToHost), cudaSuccess);
      ASSERT_EQ(count, 4);  // each device has its own
      ASSERT_EQ(cudaFree(b.x), cudaSuccess);
      ASSERT_EQ(cudaFree(b.x), cudaErrorInvalidValue);
      ASSERT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
      ASSERT_EQ(cudaGetLastError(), cudaSuccess);
    });
    EXPECT_EQ(fault, "");
  }
}

// The copy is done when its stream comes to it, not when it is enqueued.
TEST(Runtime, WithoutAWaitTheOldValuesAreSeen) {
  std::set<float> seen;
  for (uint64_t schedule = 0; schedule < 20; ++schedule) {
    EXPECT_EQ(fault_of(schedule, 1,
                       [&](int) {
                         Buffers b;
                         b.up(b.x, b.first);
                         float got = -1.0f;
                         cudaMemcpyAsync(&got, b.x + 5, 4, cudaMemcpyDeviceToHost, b.first);
                         cudaStreamQuery(b.first);
                         seen.insert(got);
                         cudaStreamSynchronize(b.first);
                         EXPECT_EQ(got, 5.0f);
                       }),
              "");
  }
  EXPECT_EQ(seen, (std::set<float>{-1.0f, 5.0f}));
}

// Two streams, with and without the event that orders them; whatever order they came in.
TEST(Runtime, StreamsThatNothingOrdersAreARace) {
  for (uint64_t schedule = 0; schedule < 20; ++schedule) {
    for (const bool ordered : {true, false}) {
      const std::string fault = fault_of(schedule, 1, [&](int) {
        Buffers b;
        b.up(b.x, b.first);
        cudaStreamSynchronize(b.first);
        add(b.y, b.x, 1.0f, kN, b.first);
        cudaEvent_t event;
        cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
        cudaEventRecord(event, b.first);
        if (ordered) cudaStreamWaitEvent(b.second, event, 0);
        add(b.x, b.y, 1.0f, kN, b.second);
        cudaEventDestroy(event);
      });
      if (ordered) {
        EXPECT_EQ(fault, "");
      } else {
        EXPECT_TRUE(fault.find("race on byte") != std::string::npos ||
                    fault.find("nobody has written") != std::string::npos)
            << fault;
      }
    }
  }
}

TEST(Runtime, ARaceReportNamesBothOperations) {
  const std::string fault = fault_of(0, 1, [&](int) {
    Buffers b;
    b.up(b.x, b.first);
    cudaMemsetAsync(b.x, 0, 16, b.second);
  });
  EXPECT_NE(fault.find("race on byte 0 of allocation 1 (1200 bytes of rank 0)"), std::string::npos) << fault;
  EXPECT_NE(fault.find("copy of 1200 bytes of the host to 1200 bytes of allocation 1 (1200 bytes of rank 0) on stream "
                       "1 of device 0 writes"),
            std::string::npos)
      << fault;
  EXPECT_NE(fault.find("fill of 16 bytes of allocation 1 (1200 bytes of rank 0) on stream 2 of device 0 writes"),
            std::string::npos)
      << fault;
}

TEST(Runtime, TheDefaultStreamAndBlockingStreamsWaitForOneAnother) {
  for (uint64_t schedule = 0; schedule < 10; ++schedule) {
    EXPECT_EQ(fault_of(schedule, 1,
                       [&](int) {
                         Buffers b;
                         cudaStream_t blocking;
                         cudaStreamCreate(&blocking);
                         b.up(b.x, nullptr);
                         add(b.y, b.x, 1.0f, kN, blocking);
                         std::vector<float> got(kN);
                         cudaMemcpy(got.data(), b.y, kN * 4, cudaMemcpyDeviceToHost);
                         EXPECT_EQ(got[299], 300.0f);
                       }),
              "");
    EXPECT_NE(fault_of(schedule, 1,
                       [&](int) {
                         Buffers b;
                         b.up(b.x, nullptr);
                         add(b.y, b.x, 1.0f, kN, b.first);
                       }),
              "");
  }
}

TEST(Runtime, AKernelsFaultEndsTheRun) {
  const std::string fault = fault_of(3, 2, [](int rank) {
    Buffers b;
    if (rank == 1) write_beyond(b.y, kN, b.first);
    if (rank == 1) {
      EXPECT_EQ(cudaStreamSynchronize(b.first), cudaErrorLaunchFailure);
    }
  });
  EXPECT_NE(fault.find("0 bytes past the end of allocation"), std::string::npos) << fault;
  EXPECT_NE(fault.find("runtime_kernels.cu:"), std::string::npos) << fault;
}

TEST(Runtime, DynamicSharedMemoryHasALimitUntilItIsRaised) {
  EXPECT_EQ(fault_of(1, 1,
                     [](int) {
                       Buffers b;
                       b.up(b.x, b.first);
                       sum_dynamic(b.y, b.x, 4, 64, 64 * 4, b.first);
                       float got[4];
                       cudaMemcpyAsync(got, b.y, 16, cudaMemcpyDeviceToHost, b.first);
                       cudaStreamSynchronize(b.first);
                       EXPECT_EQ(got[1], 64 * 95.5f);
                       EXPECT_EQ(cudaGetLastError(), cudaSuccess);
                       sum_dynamic(b.y, b.x, 4, 64, 60000, b.first);
                       EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
                       cudaFuncSetAttribute(sum_dynamic_stub(), cudaFuncAttributeMaxDynamicSharedMemorySize, 60000);
                       sum_dynamic(b.y, b.x, 4, 64, 60000, b.first);
                       EXPECT_EQ(cudaGetLastError(), cudaSuccess);
                     }),
            "");
}

TEST(Runtime, MemoryFreedInTheOrderOfAnotherStreamIsARace) {
  for (uint64_t schedule = 0; schedule < 10; ++schedule)
    for (const bool ordered : {true, false}) {
      const std::string fault = fault_of(schedule, 1, [&](int) {
        Buffers b;
        float* z = nullptr;
        cudaMallocAsync(reinterpret_cast<void**>(&z), kN * 4, b.first);
        b.up(z, b.first);
        add(b.y, z, 1.0f, kN, b.first);
        cudaFreeAsync(z, ordered ? b.first : b.second);
      });
      EXPECT_EQ(fault.empty(), ordered) << fault;
    }
}

// Whatever the policy.
TEST(Runtime, AHostThatAsksAgainAndAgainGetsAnAnswer) {
  for (uint64_t schedule = 0; schedule < 30; ++schedule)
    EXPECT_EQ(fault_of(schedule, 1,
                       [&](int) {
                         Buffers b;
                         b.up(b.x, b.first);
                         b.up(b.y, b.second);
                         uint64_t asked = 0;
                         while (cudaStreamQuery(b.first) == cudaErrorNotReady) ASSERT_LT(++asked, 10000u);
                         while (cudaStreamQuery(b.second) == cudaErrorNotReady) ASSERT_LT(++asked, 10000u);
                       }),
              "");
}

TEST(Runtime, WithoutASimulationThereIsNoDriver) {
  int count = 7;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(count, 7);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInsufficientDriver);
}

TEST(Runtime, AKilledRankStopsInTheMiddle) {
  SimulationOptions options;
  options.kill_rank = 1;
  options.kill_at_call = 3;
  int reached = 0;
  EXPECT_EQ(fault_of(
                2, 2,
                [&](int rank) {
                  Buffers b;
                  if (rank == 1) ++reached;
                },
                options),
            "");
  EXPECT_EQ(reached, 0);
}

}  // namespace
}  // namespace annulus::cudasim
