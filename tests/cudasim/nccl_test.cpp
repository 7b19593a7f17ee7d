// The simulated NCCL and cuBLAS.

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <cstring>
#include <random>

#include "tests/cudasim/simulated.h"

namespace annulus::cudasim {
namespace {

constexpr int kRanks = 3;
constexpr size_t kN = 37;

struct Rank {
  ncclComm_t communicator = nullptr;
  cudaStream_t stream = nullptr, other = nullptr;

  Rank(int rank, int ranks, const ncclUniqueId& id) {
    EXPECT_EQ(ncclCommInitRank(&communicator, ranks, id, rank), ncclSuccess);
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  }
  template <class T>
  T* filled(size_t count, T value) {
    T* pointer = nullptr;
    cudaMalloc(reinterpret_cast<void**>(&pointer), count * sizeof(T));
    const std::vector<T> values(count, value);
    cudaMemcpyAsync(pointer, values.data(), count * sizeof(T), cudaMemcpyDefault, stream);
    cudaStreamSynchronize(stream);
    return pointer;
  }
  template <class T>
  std::vector<T> read(const T* pointer, size_t count) {
    std::vector<T> values(count);
    cudaMemcpyAsync(values.data(), pointer, count * sizeof(T), cudaMemcpyDefault, stream);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    return values;
  }
};

ncclUniqueId fresh_id() {
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  return id;
}

std::optional<DeviceFault> run(uint64_t schedule, const std::function<void(Rank&, int)>& body,
                               SimulationOptions options = {}) {
  const ncclUniqueId id = fresh_id();
  return fault_in(
      schedule, kRanks,
      [&](int rank) {
        Rank mine(rank, kRanks, id);
        body(mine, rank);
      },
      options);
}

TEST(Nccl, CollectivesDoWhatTheySay) {
  for (uint64_t schedule = 0; schedule < 12; ++schedule) {
    EXPECT_EQ(text_of(run(schedule,
                          [](Rank& mine, int rank) {
                            const auto value = static_cast<float>(rank + 1);
                            float* const x = mine.filled<float>(kN * kRanks, value);
                            float* const y = mine.filled<float>(kN * kRanks, -1.0f);
                            const auto comm = mine.communicator;
                            ncclAllReduce(x, y, kN, ncclFloat32, ncclSum, comm, mine.stream);
                            EXPECT_EQ(mine.read(y, kN), std::vector<float>(kN, 6.0f));
                            ncclAllReduce(x, y, kN, ncclFloat32, ncclMax, comm, mine.stream);
                            EXPECT_EQ(mine.read(y, kN), std::vector<float>(kN, 3.0f));
                            ncclAllReduce(x, y, kN, ncclFloat32, ncclAvg, comm, mine.stream);
                            EXPECT_EQ(mine.read(y, kN), std::vector<float>(kN, 2.0f));
                            ncclReduceScatter(x, y, kN, ncclFloat32, ncclProd, comm, mine.stream);
                            EXPECT_EQ(mine.read(y, kN), std::vector<float>(kN, 6.0f));
                            ncclAllGather(x, y, kN, ncclFloat32, comm, mine.stream);
                            EXPECT_EQ(mine.read(y, kN * kRanks)[2 * kN], 3.0f);
                            EXPECT_EQ(mine.read(y, kN * kRanks)[kN - 1], 1.0f);
                            ncclBroadcast(x, y, kN, ncclFloat32, 1, comm, mine.stream);
                            EXPECT_EQ(mine.read(y, kN), std::vector<float>(kN, 2.0f));
                            float* const z = mine.filled<float>(kN, -1.0f);
                            ncclReduce(x, z, kN, ncclFloat32, ncclSum, 2, comm, mine.stream);
                            EXPECT_EQ(mine.read(z, kN), std::vector<float>(kN, rank == 2 ? 6.0f : -1.0f));
                            ncclCommDestroy(comm);
                          })),
              "");
  }
}

// 256 + 1 is 256 in bf16, whatever the order; 1 + 1 + 256 is 258 in one order alone. All ranks get the same.
TEST(Nccl, SumsAreRoundedToTheType) {
  EXPECT_EQ(text_of(run(1,
                        [](Rank& mine, int rank) {
                          const uint16_t one = 0x3f80, large = 0x4380;
                          uint16_t* const x = mine.filled<uint16_t>(3, rank == 0 ? large : one);
                          ncclAllReduce(x, x, 3, ncclBfloat16, ncclSum, mine.communicator, mine.stream);
                          // Chunk c begins at rank c + 1: 1 + 1 + 256, 1 + 256 + 1, 256 + 1 + 1.
                          EXPECT_EQ(mine.read(x, 3), (std::vector<uint16_t>{0x4381, 0x4380, 0x4380}));
                        })),
            "");
}

// Everybody passes what it has to the next one, with the waits that a ring needs.
TEST(Nccl, ARingOfBuffers) {
  for (uint64_t schedule = 0; schedule < 40; ++schedule) {
    EXPECT_EQ(text_of(run(schedule,
                          [](Rank& mine, int rank) {
                            int* const kv[2] = {mine.filled<int>(kN, rank), mine.filled<int>(kN, -1)};
                            int* const seen = mine.filled<int>(kN * kRanks, -1);
                            cudaEvent_t ready[2], freed[2];
                            for (int i = 0; i < 2; ++i) {
                              cudaEventCreateWithFlags(&ready[i], cudaEventDisableTiming);
                              cudaEventCreateWithFlags(&freed[i], cudaEventDisableTiming);
                            }
                            for (int step = 0; step < kRanks; ++step) {
                              const int now = step % 2, next = 1 - now;
                              if (step + 1 < kRanks) {
                                cudaStreamWaitEvent(mine.other, ready[now], 0);
                                cudaStreamWaitEvent(mine.other, freed[next], 0);
                                ncclGroupStart();
                                ncclSend(kv[now], kN, ncclInt32, (rank + 1) % kRanks, mine.communicator, mine.other);
                                ncclRecv(kv[next], kN, ncclInt32, (rank + kRanks - 1) % kRanks, mine.communicator,
                                         mine.other);
                                ncclGroupEnd();
                                cudaEventRecord(ready[next], mine.other);
                              }
                              cudaStreamWaitEvent(mine.stream, ready[now], 0);
                              cudaMemcpyAsync(seen + step * static_cast<int>(kN), kv[now], kN * 4, cudaMemcpyDefault,
                                              mine.stream);
                              cudaEventRecord(freed[now], mine.stream);
                            }
                            const std::vector<int> all = mine.read(seen, kN * kRanks);
                            for (int step = 0; step < kRanks; ++step)
                              EXPECT_EQ(all[static_cast<size_t>(step) * kN + 5], (rank + kRanks - step) % kRanks);
                          })),
              "");
  }
}

TEST(Nccl, SendAndReceiveOneAfterTheOtherDeadlock) {
  const std::string fault = text_of(run(4, [](Rank& mine, int rank) {
    int* const x = mine.filled<int>(kN, rank);
    int* const y = mine.filled<int>(kN, -1);
    ncclSend(x, kN, ncclInt32, (rank + 1) % kRanks, mine.communicator, mine.stream);
    ncclRecv(y, kN, ncclInt32, (rank + kRanks - 1) % kRanks, mine.communicator, mine.stream);
    cudaStreamSynchronize(mine.stream);
  }));
  EXPECT_NE(fault.find("deadlock"), std::string::npos) << fault;
  EXPECT_NE(fault.find("stream 1 of device 1: send of 37 x 4 bytes to 2 in communicator"), std::string::npos) << fault;
  EXPECT_NE(fault.find("waits for rank 2 to receive, and 1 behind it"), std::string::npos) << fault;
  EXPECT_NE(fault.find("rank 0 waits for the end of stream 1 of device 0"), std::string::npos) << fault;
}

TEST(Nccl, RanksThatDisagreeAreNamed) {
  const std::string fault = text_of(run(2, [](Rank& mine, int rank) {
    float* const x = mine.filled<float>(kN, 1.0f);
    ncclAllReduce(x, x, rank == 1 ? kN - 1 : kN, ncclFloat32, ncclSum, mine.communicator, mine.stream);
  }));
  EXPECT_NE(fault.find("ranks disagree: rank 0 does all-reduce of 37 x 4 bytes"), std::string::npos) << fault;
  EXPECT_NE(fault.find("rank 1 does all-reduce of 36 x 4 bytes"), std::string::npos) << fault;
}

// Two communicators on two streams: no deadlock here, but one on a GPU that has room for only one of the kernels.
TEST(Nccl, TwoCommunicatorsInAnotherOrderAreAFault) {
  for (const bool mixed : {false, true}) {
    const ncclUniqueId second = fresh_id();
    const std::string fault = text_of(run(3, [&](Rank& mine, int rank) {
      ncclComm_t other = nullptr;
      ncclCommInitRank(&other, kRanks, second, rank);
      float* const x = mine.filled<float>(kN, 1.0f);
      float* const y = mine.filled<float>(kN, 1.0f);
      const auto first = [&] { ncclAllReduce(x, x, kN, ncclFloat32, ncclSum, mine.communicator, mine.stream); };
      const auto then = [&] { ncclAllReduce(y, y, kN, ncclFloat32, ncclSum, other, mine.other); };
      if (mixed && rank == 2)
        then(), first();
      else
        first(), then();
    }));
    if (mixed)
      EXPECT_NE(fault.find("must enqueue the work of several communicators in one order"), std::string::npos) << fault;
    else
      EXPECT_EQ(fault, "");
  }
}

TEST(Nccl, ASplitMakesSmallerCommunicators) {
  EXPECT_EQ(text_of(run(5,
                        [](Rank& mine, int rank) {
                          ncclComm_t half = nullptr;
                          ASSERT_EQ(ncclCommSplit(mine.communicator, rank == 1 ? NCCL_SPLIT_NOCOLOR : 7, -rank, &half,
                                                  nullptr),
                                    ncclSuccess);
                          ASSERT_EQ(half == nullptr, rank == 1);
                          if (half == nullptr) return;
                          int size = 0, place = -1;
                          ncclCommCount(half, &size);
                          ncclCommUserRank(half, &place);
                          EXPECT_EQ(size, 2);
                          EXPECT_EQ(place, rank == 2 ? 0 : 1);  // the smaller key first
                          int* const x = mine.filled<int>(kN, rank);
                          ncclBroadcast(x, x, kN, ncclInt32, 0, half, mine.stream);
                          EXPECT_EQ(mine.read(x, kN), std::vector<int>(kN, 2));
                        })),
            "");
}

// Rank 1 dies, or its work hangs: the others see it by a deadline of their own, abort and go on.
TEST(Nccl, AnAbortEndsWhatWaitsForADeadRank) {
  for (const bool dies : {true, false}) {
    SimulationOptions options;
    options.hang_rank = dies ? -1 : 1;
    options.hang_at_work = 1;
    options.tell_of_dead_ranks = true;
    EXPECT_EQ(text_of(run(
                  6,
                  [&](Rank& mine, int rank) {
                    float* const x = mine.filled<float>(kN, 1.0f);
                    if (dies && rank == 1) throw RankKilled{};
                    ncclAllReduce(x, x, kN, ncclFloat32, ncclSum, mine.communicator, mine.stream);
                    int polls = 0;
                    while (cudaStreamQuery(mine.stream) == cudaErrorNotReady && polls < 1000) ++polls;
                    EXPECT_EQ(polls, 1000);
                    ncclResult_t error = ncclSuccess;
                    ncclCommGetAsyncError(mine.communicator, &error);
                    EXPECT_EQ(error, dies ? ncclRemoteError : ncclSuccess);
                    ncclCommAbort(mine.communicator);
                    EXPECT_EQ(cudaStreamSynchronize(mine.stream), cudaSuccess);
                  },
                  options)),
              "");
  }
}

std::vector<float> normal(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

TEST(Cublas, ProductsOfEveryOrientation) {
  constexpr int kM = 5, kCols = 7, kK = 9, kGap = 2, kBatches = 2;
  for (const bool a_turned : {false, true})
    for (const bool b_turned : {false, true}) {
      const int a_rows = a_turned ? kK : kM, a_columns = a_turned ? kM : kK, b_rows = b_turned ? kCols : kK,
                b_columns = b_turned ? kK : kCols;
      const auto a_size = static_cast<size_t>((a_rows + kGap) * a_columns),
                 b_size = static_cast<size_t>((b_rows + kGap) * b_columns), c_size = size_t{(kM + kGap) * kCols};
      const std::vector<float> a = normal(kBatches * a_size, 1), b = normal(kBatches * b_size, 2),
                               c = normal(kBatches * c_size, 3);
      EXPECT_EQ(
          text_of(fault_in(
              3, 1,
              [&](int) {
                Rank mine(0, 1, fresh_id());
                const auto up = [&](const std::vector<float>& values) {
                  float* const pointer = mine.filled<float>(values.size(), 0.0f);
                  cudaMemcpyAsync(pointer, values.data(), values.size() * 4, cudaMemcpyDefault, mine.stream);
                  return pointer;
                };
                float *const da = up(a), *const db = up(b), *const dc = up(c);
                cublasHandle_t handle = nullptr;
                ASSERT_EQ(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
                cublasSetStream(handle, mine.stream);
                const float alpha = 2.0f, beta = -0.5f;
                ASSERT_EQ(cublasGemmStridedBatchedEx(
                              handle, a_turned ? CUBLAS_OP_T : CUBLAS_OP_N, b_turned ? CUBLAS_OP_T : CUBLAS_OP_N, kM,
                              kCols, kK, &alpha, da, CUDA_R_32F, a_rows + kGap, static_cast<int64_t>(a_size), db,
                              CUDA_R_32F, b_rows + kGap, static_cast<int64_t>(b_size), &beta, dc, CUDA_R_32F, kM + kGap,
                              static_cast<int64_t>(c_size), kBatches, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                          CUBLAS_STATUS_SUCCESS);
                const std::vector<float> got = mine.read(dc, kBatches * c_size);
                for (size_t batch = 0; batch < kBatches; ++batch)
                  for (size_t j = 0; j < kCols; ++j)
                    for (size_t i = 0; i < kM + kGap; ++i) {
                      const size_t at = batch * c_size + j * (kM + kGap) + i;
                      double sum = 0;
                      for (size_t k = 0; k < kK && i < kM; ++k) {
                        const size_t ai = a_turned ? i * (kK + kGap) + k : k * (kM + kGap) + i,
                                     bi = b_turned ? k * (kCols + kGap) + j : j * (kK + kGap) + k;
                        sum +=
                            static_cast<double>(a[batch * a_size + ai]) * static_cast<double>(b[batch * b_size + bi]);
                      }
                      const double expected =
                          i < kM ? 2 * sum - 0.5 * static_cast<double>(c[at]) : static_cast<double>(c[at]);
                      ASSERT_NEAR(static_cast<double>(got[at]), expected, 1e-5);
                    }
                cublasDestroy(handle);
              })),
          "");
    }
}

TEST(Cublas, RefusesWhatItDoesNotSimulate) {
  EXPECT_EQ(text_of(fault_in(0, 1,
                             [&](int) {
                               cublasHandle_t handle = nullptr;
                               cublasCreate(&handle);
                               const float one = 1.0f;
                               float* const none = nullptr;
                               EXPECT_EQ(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, none, CUDA_R_32F,
                                                      2, none, CUDA_R_32F, 2, &one, none, CUDA_R_32F, 2,
                                                      CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT),
                                         CUBLAS_STATUS_NOT_SUPPORTED);
                               EXPECT_EQ(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, none, CUDA_R_32F,
                                                      1, none, CUDA_R_32F, 2, &one, none, CUDA_R_32F, 2,
                                                      CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                                         CUBLAS_STATUS_INVALID_VALUE);
                               EXPECT_EQ(cublasSetMathMode(handle, CUBLAS_TF32_TENSOR_OP_MATH),
                                         CUBLAS_STATUS_NOT_SUPPORTED);
                               cublasDestroy(handle);
                             })),
            "");
}

}  // namespace
}  // namespace annulus::cudasim
