// What is wrong between kernels: streams, events, copies, memory in stream order, several devices.

#include "tests/cudasim/faults/fault_case.h"
#include "tests/cudasim/faults/kernels.h"

namespace annulus::cudasim::faults {
namespace {

using enum FaultKind;

constexpr int kN = 40;
constexpr size_t kBytes = kN * sizeof(float);

void copy(float* to, const float* from, cudaStream_t stream) {
  check(cudaMemcpyAsync(to, from, kBytes, cudaMemcpyDefault, stream));
}
void wait(cudaStream_t stream, cudaEvent_t event) { check(cudaStreamWaitEvent(stream, event, 0)); }

// A ring's inner loop with one rank: a comm stream brings the blocks of its neighbours into two buffers in turn, a
// compute stream adds each to the result.
enum class RingFault { kNone, kArrival, kFreed, kLocalCopy };

template <RingFault kFault>
void ring(Rank& rank, bool faulty) {
  constexpr int kVisits = 4;
  const cudaStream_t compute = rank.stream(), comm = rank.stream();
  float* const blocks[2] = {rank.device<float>(kN), rank.device<float>(kN)};
  float* const sum = rank.device(std::vector<float>(kN));
  float* const away = rank.device<float>(kN);  // what the neighbour receives
  const auto is = [&](RingFault fault) { return faulty && kFault == fault; };

  std::vector<float> expected(kN);
  std::vector<const float*> arriving;
  for (int visit = 0; visit < kVisits; ++visit) {
    const std::vector<float> block = numbers(kN, static_cast<float>(100 * visit));
    for (size_t i = 0; i < kN; ++i) expected[i] += block[i];
    arriving.push_back(rank.device(block));
  }
  cudaEvent_t ready[2] = {}, freed[2] = {};
  copy(blocks[0], arriving[0], compute);
  ready[0] = rank.recorded(compute);
  for (int visit = 0; visit < kVisits; ++visit) {
    const int now = visit % 2, next = 1 - now;
    if (visit + 1 < kVisits) {
      if (visit > 0 || !is(RingFault::kLocalCopy)) wait(comm, ready[now]);
      copy(away, blocks[now], comm);  // the send
      if (freed[next] != nullptr && !is(RingFault::kFreed)) wait(comm, freed[next]);
      copy(blocks[next], arriving[static_cast<size_t>(visit + 1)], comm);  // the receive
      ready[next] = rank.recorded(comm);
    }
    if (!is(RingFault::kArrival)) wait(compute, ready[now]);
    accumulate(sum, blocks[now], kN, compute);
    freed[now] = rank.recorded(compute);
  }
  expect_equal(rank.fetch(sum, kN, compute), expected);
}

void kernel_on_another_stream(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream(), other = rank.stream();
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN), *const z = rank.device<float>(kN);
  add(y, x, 1.0f, kN, faulty ? other : stream);
  add(z, y, 1.0f, kN, stream);
  expect_equal(rank.fetch(z, kN, stream), numbers(kN, 2.0f));
}

void host_reads_too_early(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN);
  std::vector<float>& got = rank.host(std::vector<float>(kN));
  add(y, x, 1.0f, kN, stream);
  copy(got.data(), y, stream);
  if (!faulty) check(cudaStreamSynchronize(stream));
  expect_equal(std::vector<float>(got), numbers(kN, 1.0f));
}

void host_writes_too_early(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  std::vector<float>& staging = rank.host(numbers(kN));
  float *const x = rank.device<float>(kN), *const y = rank.device<float>(kN);
  copy(x, staging.data(), stream);
  const cudaEvent_t copied = rank.recorded(stream);
  if (!faulty) check(cudaEventSynchronize(copied));
  staging.assign(kN, 7.0f);
  copy(y, staging.data(), stream);
  expect_equal(rank.fetch(x, kN, stream), numbers(kN));
}

void freed_on_another_stream(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream(), other = rank.stream();
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN);
  void* scratch = nullptr;
  check(cudaMallocAsync(&scratch, kBytes, stream));
  add(static_cast<float*>(scratch), x, 1.0f, kN, stream);
  add(y, static_cast<float*>(scratch), 1.0f, kN, stream);
  check(cudaFreeAsync(scratch, faulty ? other : stream));
  expect_equal(rank.fetch(y, kN, stream), numbers(kN, 2.0f));
}

void freed_before_the_last_use(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN);
  void* scratch = nullptr;
  check(cudaMallocAsync(&scratch, kBytes, stream));
  add(static_cast<float*>(scratch), x, 1.0f, kN, stream);
  if (faulty) check(cudaFreeAsync(scratch, stream));
  add(y, static_cast<float*>(scratch), 1.0f, kN, stream);
  if (!faulty) check(cudaFreeAsync(scratch, stream));
  expect_equal(rank.fetch(y, kN, stream), numbers(kN, 2.0f));
}

void used_before_allocated(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream(), other = rank.stream();
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN);
  void* scratch = nullptr;
  check(cudaMallocAsync(&scratch, kBytes, other));
  const cudaEvent_t allocated = rank.recorded(other);
  if (!faulty) wait(stream, allocated);
  add(static_cast<float*>(scratch), x, 1.0f, kN, stream);
  add(y, static_cast<float*>(scratch), 1.0f, kN, stream);
  expect_equal(rank.fetch(y, kN, stream), numbers(kN, 2.0f));
}

void recorded_before_the_kernel(Rank& rank, bool faulty) {
  const cudaStream_t producer = rank.stream(), consumer = rank.stream();
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN), *const z = rank.device<float>(kN);
  const cudaEvent_t done = rank.event();
  if (faulty) check(cudaEventRecord(done, producer));
  add(y, x, 1.0f, kN, producer);
  if (!faulty) check(cudaEventRecord(done, producer));
  wait(consumer, done);
  add(z, y, 1.0f, kN, consumer);
  expect_equal(rank.fetch(z, kN, consumer), numbers(kN, 2.0f));
}

void waited_for_before_the_record(Rank& rank, bool faulty) {
  const cudaStream_t producer = rank.stream(), consumer = rank.stream();
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN), *const z = rank.device<float>(kN);
  const cudaEvent_t done = rank.event();
  if (faulty) wait(consumer, done);
  add(y, x, 1.0f, kN, producer);
  check(cudaEventRecord(done, producer));
  if (!faulty) wait(consumer, done);
  add(z, y, 1.0f, kN, consumer);
  expect_equal(rank.fetch(z, kN, consumer), numbers(kN, 2.0f));
}

void fill_beside_a_kernel(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream(), other = rank.stream();
  float *const x = rank.device(numbers(kN)), *const sum = rank.device<float>(kN);
  check(cudaMemsetAsync(sum, 0, kBytes, other));
  const cudaEvent_t zeroed = rank.recorded(other);
  if (!faulty) wait(stream, zeroed);
  accumulate(sum, x, kN, stream);
  expect_equal(rank.fetch(sum, kN, stream), numbers(kN));
}

void default_stream(Rank& rank, bool faulty) {
  cudaStream_t other = nullptr;
  check(cudaStreamCreateWithFlags(&other, faulty ? cudaStreamNonBlocking : cudaStreamDefault));
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN), *const z = rank.device<float>(kN);
  add(y, x, 1.0f, kN, nullptr);
  add(z, y, 1.0f, kN, other);
  expect_equal(rank.fetch(z, kN, other), numbers(kN, 2.0f));
}

void longer_than_the_allocation(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN);
  check(cudaMemcpyAsync(y, x, kBytes + (faulty ? sizeof(float) : 0), cudaMemcpyDeviceToDevice, stream));
  expect_equal(rank.fetch(y, kN, stream), numbers(kN));
}

void copied_back_unwritten(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  float *const x = rank.device(numbers(kN)), *const y = rank.device<float>(kN);
  add(y, x, 1.0f, faulty ? kN - 1 : kN, stream);
  expect_equal(rank.fetch(y, kN, stream), numbers(kN, 1.0f));
}

// Two ranks; the second one's kernel reads what the first one's has written on the other device.
float* shared_by_ranks = nullptr;

void of_the_neighbour(Rank& rank, bool access, bool in_order) {
  const cudaStream_t stream = rank.stream();
  Simulation& simulation = Simulation::current();
  if (rank.number == 0) {
    shared_by_ranks = rank.device<float>(kN);
    add(shared_by_ranks, rank.device(numbers(kN)), 1.0f, kN, stream);
    if (in_order) check(cudaStreamSynchronize(stream));
    simulation.meet_hosts();
    return;
  }
  simulation.meet_hosts();
  if (access) check(cudaDeviceEnablePeerAccess(0, 0));
  float* const y = rank.device<float>(kN);
  add(y, shared_by_ranks, 1.0f, kN, stream);
  expect_equal(rank.fetch(y, kN, stream), numbers(kN, 2.0f));
}
void no_peer_access(Rank& rank, bool faulty) { of_the_neighbour(rank, !faulty, true); }
void neighbour_not_waited_for(Rank& rank, bool faulty) { of_the_neighbour(rank, true, !faulty); }

}  // namespace

std::vector<FaultCase> stream_faults() {
  return {
      {"compute_before_arrival",
       "the compute stream does not wait for the receive",
       {kRace, kUninitialised},
       true,
       ring<RingFault::kArrival>},
      {"receive_before_freed",
       "a receive does not wait until its buffer was used",
       {kRace},
       true,
       ring<RingFault::kFreed>},
      {"send_before_local_copy",
       "the first send does not wait for the local block",
       {kRace, kHost},
       true,
       ring<RingFault::kLocalCopy>},
      {"kernel_on_wrong_stream",
       "a kernel goes into a stream that nothing orders",
       {kRace, kUninitialised},
       true,
       kernel_on_another_stream},
      {"host_reads_too_early", "the host does not wait for a copy to it", {}, true, host_reads_too_early},
      {"host_writes_too_early", "a host buffer is used again before it was copied", {}, true, host_writes_too_early},
      {"freed_on_wrong_stream",
       "cudaFreeAsync in a stream that does not wait",
       {kRace, kOutOfBounds},
       true,
       freed_on_another_stream},
      {"freed_too_early", "cudaFreeAsync before the last kernel", {kOutOfBounds}, false, freed_before_the_last_use},
      {"used_before_allocated",
       "memory of cudaMallocAsync is used in another stream",
       {kRace},
       true,
       used_before_allocated},
      {"event_recorded_too_early",
       "an event is recorded before the kernel it stands for",
       {kRace, kUninitialised},
       true,
       recorded_before_the_kernel},
      {"event_waited_for_too_early",
       "a wait for an event that is not recorded yet waits for nothing",
       {kRace, kUninitialised},
       true,
       waited_for_before_the_record},
      {"fill_not_waited_for",
       "zeroing in one stream, sums in another",
       {kRace, kUninitialised},
       true,
       fill_beside_a_kernel},
      {"default_stream_for_order",
       "a non-blocking stream does not wait for the default one",
       {kRace, kUninitialised},
       true,
       default_stream},
      {"copy_longer_than_memory", "a copy of one element too many", {kHost}, false, longer_than_the_allocation},
      {"result_partly_unwritten",
       "the last element comes back without having been written",
       {kHost},
       false,
       copied_back_unwritten},
      {"no_peer_access",
       "a kernel reads a neighbour's memory without peer access",
       {kOutOfBounds},
       false,
       no_peer_access,
       2},
      {"neighbour_not_waited_for",
       "ranks meet, but the neighbour's stream is still busy",
       {kRace, kUninitialised},
       true,
       neighbour_not_waited_for,
       2},
  };
}

}  // namespace annulus::cudasim::faults
