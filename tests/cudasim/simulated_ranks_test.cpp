// Ranks as threads that talk through comm/ and use simulated GPUs: one at a time, whoever waits for whom.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include "comm/thread_group.h"
#include "tests/cudasim/simulated.h"

namespace annulus::cudasim {
namespace {

// While it lives, waits of comm/ let other ranks and the devices go on.
class WaitsInSimulation {
 public:
  WaitsInSimulation() { set_waiter(wait); }
  ~WaitsInSimulation() { set_waiter(nullptr); }

 private:
  static bool wait(bool (*done)(void*), void* context, const char* what, const int& peer) {
    return Simulation::current().wait_until(std::string(what) + " of rank " + std::to_string(peer),
                                            [=] { return done(context); });
  }
};

TEST(SimulatedRanks, HostsAndDevicesTalkAtOnce) {
  constexpr int kRanks = 3;
  for (uint64_t schedule = 0; schedule < 20; ++schedule) {
    const WaitsInSimulation waits;
    auto groups = ThreadGroup::make(kRanks);
    EXPECT_EQ(text_of(fault_in(schedule, kRanks,
                               [&](int rank) {
                                 Group& group = *groups[static_cast<size_t>(rank)];
                                 ncclUniqueId id;
                                 if (rank == 0) ncclGetUniqueId(&id);
                                 group.broadcast(&id, sizeof(id), 0, "NCCL's id");
                                 ncclComm_t communicator = nullptr;
                                 ncclCommInitRank(&communicator, kRanks, id, rank);
                                 cudaStream_t stream = nullptr;
                                 cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
                                 int* x = nullptr;
                                 cudaMalloc(reinterpret_cast<void**>(&x), sizeof(int));
                                 cudaMemcpyAsync(x, &rank, sizeof(int), cudaMemcpyDefault, stream);
                                 ncclAllReduce(x, x, 1, ncclInt32, ncclSum, communicator, stream);
                                 int sum = -1;
                                 cudaMemcpyAsync(&sum, x, sizeof(int), cudaMemcpyDefault, stream);
                                 cudaStreamSynchronize(stream);
                                 EXPECT_EQ(sum, 3);
                                 EXPECT_EQ(group.sum(int64_t{sum}, "the sums"), 9);
                               })),
              "");
  }
}

TEST(SimulatedRanks, ADeadlockBetweenHostsAndDevicesNamesBoth) {
  const WaitsInSimulation waits;
  auto groups = ThreadGroup::make(2);
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  const std::string fault = text_of(fault_in(3, 2, [&](int rank) {
    ncclComm_t communicator = nullptr;
    ncclCommInitRank(&communicator, 2, id, rank);
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    float* x = nullptr;
    cudaMalloc(reinterpret_cast<void**>(&x), 64);
    cudaMemsetAsync(x, 0, 64, stream);
    try {
      if (rank == 0) ncclAllReduce(x, x, 16, ncclFloat32, ncclSum, communicator, stream);
      if (rank == 0) cudaStreamSynchronize(stream);
      groups[static_cast<size_t>(rank)]->barrier("the end of the step");
      if (rank == 1) ncclAllReduce(x, x, 16, ncclFloat32, ncclSum, communicator, stream);
    } catch (const Cancelled&) {
    }
  }));
  EXPECT_NE(fault.find("rank 0 waits for the end of stream 1 of device 0"), std::string::npos) << fault;
  EXPECT_NE(fault.find("rank 1 waits for the end of the step of rank 0"), std::string::npos) << fault;
  EXPECT_NE(fault.find("all-reduce of 16 x 4 bytes"), std::string::npos) << fault;
  EXPECT_NE(fault.find("waits for rank 1"), std::string::npos) << fault;
}

}  // namespace
}  // namespace annulus::cudasim
