// What is wrong between ranks, and around the libraries that work in streams: NCCL and cuBLAS.

#include <cublas_v2.h>
#include <nccl.h>

#include "tests/cudasim/faults/fault_case.h"
#include "tests/cudasim/faults/kernels.h"

namespace annulus::cudasim::faults {
namespace {

using enum FaultKind;

constexpr int kN = 40, kRanks = 3;

void ok(ncclResult_t result) {
  if (result != ncclSuccess) throw WrongResult("a call of NCCL failed");
}
void ok(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) throw WrongResult("a call of cuBLAS failed");
}
void wait(cudaStream_t stream, cudaEvent_t event) { check(cudaStreamWaitEvent(stream, event, 0)); }

// One of all ranks. Rank 0 makes its name and the others take it, as from an MPI broadcast.
ncclComm_t join(Rank& rank) {
  static ncclUniqueId name;
  if (rank.number == 0) ok(ncclGetUniqueId(&name));
  Simulation::current().meet_hosts();
  ncclComm_t made = nullptr;
  ok(ncclCommInitRank(&made, kRanks, name, rank.number));
  Simulation::current().meet_hosts();
  return made;
}

int next(const Rank& rank) { return (rank.number + 1) % kRanks; }
int previous(const Rank& rank) { return (rank.number + kRanks - 1) % kRanks; }

void sum_over_ranks(float* x, size_t count, ncclComm_t communicator, cudaStream_t stream) {
  ok(ncclAllReduce(x, x, count, ncclFloat32, ncclSum, communicator, stream));
}

std::vector<float> mine(const Rank& rank) { return std::vector<float>(kN, static_cast<float>(rank.number)); }
const std::vector<float> kSum(kN, 0.0f + 1.0f + 2.0f);

// Each rank gets what the one before it has.
void pass_on(Rank& rank, bool grouped, int sent, bool in_place) {
  const ncclComm_t communicator = join(rank);
  const cudaStream_t stream = rank.stream();
  float *const x = rank.device(mine(rank)), *const y = in_place ? x : rank.device<float>(kN);
  if (grouped) ok(ncclGroupStart());
  ok(ncclSend(x, static_cast<size_t>(sent), ncclFloat32, next(rank), communicator, stream));
  ok(ncclRecv(y, kN, ncclFloat32, previous(rank), communicator, stream));
  if (grouped) ok(ncclGroupEnd());
  expect_equal(rank.fetch(y, kN, stream), std::vector<float>(kN, static_cast<float>(previous(rank))));
}
void not_grouped(Rank& rank, bool faulty) { pass_on(rank, !faulty, kN, false); }
void shorter_message(Rank& rank, bool faulty) { pass_on(rank, true, faulty && rank.number == 1 ? kN - 1 : kN, false); }
void received_over_what_is_sent(Rank& rank, bool faulty) { pass_on(rank, true, kN, faulty); }

// Forward ring attention in small: blocks go round while each rank adds them up.
enum class RingFault { kArrival, kFreed };
template <RingFault kFault>
void ring(Rank& rank, bool faulty) {
  const ncclComm_t communicator = join(rank);
  const cudaStream_t compute = rank.stream(), comm = rank.stream();
  float* const blocks[2] = {rank.device(mine(rank)), rank.device<float>(kN)};
  float* const sum = rank.device(std::vector<float>(kN));
  cudaEvent_t ready[2] = {rank.recorded(compute), nullptr}, freed[2] = {};
  for (int visit = 0; visit < kRanks; ++visit) {
    const int now = visit % 2, then = 1 - now;
    if (visit + 1 < kRanks) {
      wait(comm, ready[now]);
      if (freed[then] != nullptr && !(faulty && kFault == RingFault::kFreed)) wait(comm, freed[then]);
      ok(ncclGroupStart());
      ok(ncclSend(blocks[now], kN, ncclFloat32, next(rank), communicator, comm));
      ok(ncclRecv(blocks[then], kN, ncclFloat32, previous(rank), communicator, comm));
      ok(ncclGroupEnd());
      ready[then] = rank.recorded(comm);
    }
    if (!(faulty && kFault == RingFault::kArrival)) wait(compute, ready[now]);
    accumulate(sum, blocks[now], kN, compute);
    freed[now] = rank.recorded(compute);
  }
  expect_equal(rank.fetch(sum, kN, compute), kSum);
}

void two_communicators(Rank& rank, bool faulty) {
  const ncclComm_t first = join(rank), second = join(rank);
  const cudaStream_t stream = rank.stream(), other = rank.stream();
  float *const x = rank.device(mine(rank)), *const y = rank.device(mine(rank));
  const bool turned = faulty && rank.number == 2;
  if (turned) sum_over_ranks(y, kN, second, other);
  sum_over_ranks(x, kN, first, stream);
  if (!turned) sum_over_ranks(y, kN, second, other);
  expect_equal(rank.fetch(x, kN, stream), kSum);
  expect_equal(rank.fetch(y, kN, other), kSum);
}

void two_collectives(Rank& rank, bool faulty) {
  const ncclComm_t communicator = join(rank);
  const cudaStream_t stream = rank.stream();
  float *const x = rank.device(mine(rank)), *const y = rank.device(mine(rank));
  const bool turned = faulty && rank.number == 1;
  if (turned) sum_over_ranks(x, kN, communicator, stream);
  ok(ncclBroadcast(y, y, kN, ncclFloat32, 2, communicator, stream));
  if (!turned) sum_over_ranks(x, kN, communicator, stream);
  expect_equal(rank.fetch(x, kN, stream), kSum);
}

void different_counts(Rank& rank, bool faulty) {
  const ncclComm_t communicator = join(rank);
  const cudaStream_t stream = rank.stream();
  float* const x = rank.device(mine(rank));
  sum_over_ranks(x, faulty && rank.number == 0 ? kN - 1 : kN, communicator, stream);
  expect_equal(rank.fetch(x, kN, stream), kSum);
}

void different_roots(Rank& rank, bool faulty) {
  const ncclComm_t communicator = join(rank);
  const cudaStream_t stream = rank.stream();
  float* const x = rank.device(mine(rank));
  ok(ncclBroadcast(x, x, kN, ncclFloat32, faulty && rank.number == 2 ? 0 : 1, communicator, stream));
  expect_equal(rank.fetch(x, kN, stream), std::vector<float>(kN, 1.0f));
}

void sum_of_ranks(Rank& rank, bool) {
  const ncclComm_t communicator = join(rank);
  const cudaStream_t stream = rank.stream();
  float* const x = rank.device(mine(rank));
  sum_over_ranks(x, kN, communicator, stream);
  expect_equal(rank.fetch(x, kN, stream), kSum);
}

void left_out(Rank& rank, bool faulty) {
  const ncclComm_t communicator = join(rank);
  const cudaStream_t stream = rank.stream();
  float* const x = rank.device(mine(rank));
  if (faulty && rank.number == 1) return;
  sum_over_ranks(x, kN, communicator, stream);
  expect_equal(rank.fetch(x, kN, stream), kSum);
}

void gradient_not_ready(Rank& rank, bool faulty) {
  const ncclComm_t communicator = join(rank);
  const cudaStream_t compute = rank.stream(), comm = rank.stream();
  float *const x = rank.device(mine(rank)), *const gradient = rank.device<float>(kN);
  add(gradient, x, 1.0f, kN, compute);
  if (!faulty) wait(comm, rank.recorded(compute));
  sum_over_ranks(gradient, kN, communicator, comm);
  expect_equal(rank.fetch(gradient, kN, comm), std::vector<float>(kN, 6.0f));
}

void gathered_into_too_little(Rank& rank, bool faulty) {
  const ncclComm_t communicator = join(rank);
  const cudaStream_t stream = rank.stream();
  float *const x = rank.device(mine(rank)), *const all = rank.device<float>(kN * (faulty ? kRanks - 1 : kRanks));
  ok(ncclAllGather(x, all, kN, ncclFloat32, communicator, stream));
  expect_equal(rank.fetch(all + kN, kN, stream), std::vector<float>(kN, 1.0f));
}

// A product of 4 x 4 matrices of ones.
void product_without_stream(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  float *const x = rank.device(std::vector<float>(16)), *const a = rank.device<float>(16),
               *const c = rank.device<float>(16);
  cublasHandle_t handle = nullptr;
  ok(cublasCreate(&handle));
  if (!faulty) ok(cublasSetStream(handle, stream));
  add(a, x, 1.0f, 16, stream);
  const float one = 1.0f, zero = 0.0f;
  const cublasStatus_t status =
      cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, a, CUDA_R_32F, 4, a, CUDA_R_32F, 4, &zero, c,
                   CUDA_R_32F, 4, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  cublasDestroy(handle);
  ok(status);
  expect_equal(rank.fetch(c, 16, stream), std::vector<float>(16, 4.0f));
}

}  // namespace

std::vector<FaultCase> collective_faults() {
  std::vector<FaultCase> all = {
      {"messages_not_grouped", "each rank sends first and receives then", {kDeadlock}, false, not_grouped},
      {"message_of_another_size",
       "a rank sends less than its neighbour receives",
       {kCollective},
       false,
       shorter_message},
      {"received_over_what_is_sent", "send and receive use one buffer", {}, true, received_over_what_is_sent},
      {"ring_computes_too_early",
       "the compute stream does not wait for what NCCL receives",
       {kRace, kUninitialised},
       true,
       ring<RingFault::kArrival>},
      {"ring_receives_too_early",
       "NCCL receives into a buffer that is still read",
       {kRace},
       true,
       ring<RingFault::kFreed>},
      {"communicators_in_other_order",
       "one rank uses its two communicators in another order",
       {kCollective},
       false,
       two_communicators},
      {"collectives_in_other_order", "one rank broadcasts after it reduces", {kCollective}, false, two_collectives},
      {"collective_of_another_count", "one rank reduces an element less", {kCollective}, false, different_counts},
      {"broadcast_of_another_root", "one rank names another root", {kCollective}, false, different_roots},
      {"collective_left_out", "one rank never calls the all-reduce", {kDeadlock}, false, left_out},
      {"rank_dies", "a rank ends in the middle", {kDeadlock}, false, sum_of_ranks},
      {"collective_never_ends", "one rank's part of an all-reduce hangs", {kDeadlock}, false, sum_of_ranks},
      {"gradient_reduced_too_early",
       "an all-reduce does not wait for the kernel before it",
       {kRace, kHost},
       true,
       gradient_not_ready},
      {"gathered_into_too_little",
       "an all-gather's result is longer than its memory",
       {kHost},
       false,
       gathered_into_too_little},
  };
  for (FaultCase& one : all) {
    one.ranks = kRanks;
    if (one.name == "rank_dies") one.planted.kill_rank = 1, one.planted.kill_at_call = 5;
    if (one.name == "collective_never_ends") one.planted.hang_rank = 1, one.planted.hang_at_work = 1;
  }
  all.push_back({"product_without_stream",
                 "cuBLAS was not told the stream",
                 {kRace, kUninitialised, kHost},
                 true,
                 product_without_stream});
  return all;
}

}  // namespace annulus::cudasim::faults
