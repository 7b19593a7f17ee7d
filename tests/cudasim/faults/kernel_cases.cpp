// What is wrong inside kernels: the host only hands out inputs and compares results.

#include <cmath>

#include "tests/cudasim/faults/fault_case.h"
#include "tests/cudasim/faults/kernels.h"

namespace annulus::cudasim::faults {
namespace {

using enum FaultKind;

constexpr int kTiles = 4;

// A kernel from x to y, and what y must be.
template <class Launch>
void run(Rank& rank, const std::vector<float>& x, const std::vector<float>& expected, Launch launch) {
  const cudaStream_t stream = rank.stream();
  float *const from = rank.device(x), *const to = rank.device<float>(expected.size());
  launch(to, from, stream);
  check(cudaGetLastError());
  expect_equal(rank.fetch(to, expected.size(), stream), expected);
}

using Pipeline = void (*)(bool, float*, const float*, int, cudaStream_t);
template <Pipeline kLaunch>
void sum_of_tiles(Rank& rank, bool faulty) {
  const std::vector<float> x = numbers(kTiles * kTile);
  std::vector<float> expected(kTile);
  for (size_t i = 0; i < x.size(); ++i) expected[kTile - 1 - i % kTile] += x[i];
  run(rank, x, expected, [=](float* to, const float* from, cudaStream_t s) { kLaunch(faulty, to, from, kTiles, s); });
}

template <Pipeline kLaunch>
void tiles_backwards(Rank& rank, bool faulty) {
  const std::vector<float> x = numbers(kTiles * kTile);
  std::vector<float> expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) expected[i] = x[i / kTile * kTile + kTile - 1 - i % kTile];
  run(rank, x, expected, [=](float* to, const float* from, cudaStream_t s) { kLaunch(faulty, to, from, kTiles, s); });
}

using Simple = void (*)(bool, float*, const float*, cudaStream_t);
template <Simple kLaunch, int kCount>
void all_backwards(Rank& rank, bool faulty) {
  const std::vector<float> x = numbers(kCount, 1.0f);
  run(rank, x, backwards(x), [=](float* to, const float* from, cudaStream_t s) { kLaunch(faulty, to, from, s); });
}

template <Simple kLaunch, int kCount>
void all_summed(Rank& rank, bool faulty) {
  const std::vector<float> x = numbers(kCount, 1.0f);
  run(rank, x, {sum_of(x)}, [=](float* to, const float* from, cudaStream_t s) { kLaunch(faulty, to, from, s); });
}

// Each with its neighbour to the right.
template <Simple kLaunch>
void neighbours(Rank& rank, bool faulty) {
  const std::vector<float> x = numbers(32);
  std::vector<float> expected = x;
  for (size_t i = 0; i + 1 < x.size(); ++i) expected[i] += x[i + 1];
  run(rank, x, expected, [=](float* to, const float* from, cudaStream_t s) { kLaunch(faulty, to, from, s); });
}

using Sized = void (*)(bool, float*, const float*, int, cudaStream_t);
template <Sized kLaunch, int kCount>
void map(Rank& rank, bool faulty, float (*expected_of)(float, size_t)) {
  const std::vector<float> x = numbers(kCount, 1.0f);
  std::vector<float> expected(kCount);
  for (size_t i = 0; i < kCount; ++i) expected[i] = expected_of(x[i], i);
  run(rank, x, expected, [=](float* to, const float* from, cudaStream_t s) { kLaunch(faulty, to, from, kCount, s); });
}
float same(float x, size_t) { return x; }

void overwritten_source(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  const std::vector<float> x = numbers(kTile, 1.0f);
  float *const from = rank.device(x), *const to = rank.device<float>(kTile);
  source_overwritten(faulty, to, from, stream);
  expect_equal(rank.fetch(to, kTile, stream), x);
  expect_equal(rank.fetch(from, kTile, stream), std::vector<float>(kTile, -1.0f));
}

void copy_left_behind(Rank& rank, bool faulty) {
  run(rank, numbers(2 * kTile), numbers(kTile),
      [=](float* to, const float* from, cudaStream_t s) { exit_in_flight(faulty, to, from, s); });
}

template <void (*kLaunch)(bool, int*, const int*, cudaStream_t)>
void histogram(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  std::vector<int> x(64), expected(16);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int>(i * i % 13), ++expected[static_cast<size_t>(x[i])];
  int *const from = rank.device(x), *const to = rank.device<int>(16);
  kLaunch(faulty, to, from, stream);
  expect_equal(rank.fetch(to, 16, stream), expected);
}

void largest(Rank& rank, bool faulty) {
  run(rank, numbers(32), {31.0f},
      [=](float* to, const float* from, cudaStream_t s) { same_word(faulty, to, from, s); });
}

void merged_lse(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  float *const lse = rank.device(std::vector<float>{5.0f}), *const y = rank.device<float>(32);
  first_lane_stores(faulty, y, lse, stream);
  expect_equal(rank.fetch(y, 32, stream), std::vector<float>(32, 5.0f));
  expect_equal(rank.fetch(lse, 1, stream), {6.0f});
}

void votes(Rank& rank, bool faulty) {
  run(rank, numbers(32, -15.0f), {16.0f},
      [=](float* to, const float* from, cudaStream_t s) { vote_in_branch(faulty, to, from, s); });
}

template <Fence kWrong>
void sum_of_blocks(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  const std::vector<float> x = numbers(128);
  float *const from = rank.device(x), *const partial = rank.device<float>(4), *const y = rank.device<float>(1);
  auto* const count = reinterpret_cast<unsigned*>(rank.device(std::vector<int>{0}));
  const Fence clean = kWrong == Fence::kNone ? Fence::kBeforeBarrier : Fence::kDevice;
  for (int time = 0; time < 2; ++time) {
    last_block_sums(faulty ? kWrong : clean, y, partial, count, from, stream);
    expect_equal(rank.fetch(y, 1, stream), {sum_of(x)});
  }
}

// Sums of floats in any order: not a fault, however their last digits differ.
void atomic_sum(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  std::vector<float> x(128);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 1.0f / static_cast<float>(i + 1);
  float *const from = rank.device(x), *const y = rank.device(std::vector<float>{0.0f});
  add_to_one_word(faulty, y, from, stream);
  expect_equal(rank.fetch(y, 1, stream), {sum_of(x)});
}

void counter(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  int *const count = rank.device(std::vector<int>{0}), *const seen = rank.device<int>(4);
  plain_read_of_counter(faulty, seen, count, stream);
  expect_equal(rank.fetch(count, 1, stream), {128});
}

void locked(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  int *const value = rank.device(std::vector<int>{0}), *const lock = rank.device(std::vector<int>{0});
  lock_without_fence(faulty, value, lock, stream);
  expect_equal(rank.fetch(value, 1, stream), {4});
}

void counted_by_blocks(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  int* const count = rank.device(std::vector<int>{0});
  scope_too_narrow(faulty, count, stream);
  expect_equal(rank.fetch(count, 1, stream), {128});
}

void in_place(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  const std::vector<float> x = numbers(128);
  float *const from = rank.device(x), *const to = rank.device<float>(128);
  neighbours_in_place(faulty, to, from, stream);
  std::vector<float> expected = x;
  for (size_t i = 0; i + 1 < x.size(); ++i) expected[i] += x[i + 1];
  expect_equal(rank.fetch(faulty ? from : to, 128, stream), expected);
}

void differences(Rank& rank, bool faulty) {
  map<before_the_start, 40>(rank, faulty, [](float, size_t) { return 1.0f; });
}
void misaligned(Rank& rank, bool faulty) {
  run(rank, numbers(133), numbers(128),
      [=](float* to, const float* from, cudaStream_t s) { misaligned_vector(faulty, to, from, 128, s); });
}
void weighted(Rank& rank, bool faulty) {
  map<write_to_constant, 20>(rank, faulty, [](float x, size_t i) { return x * static_cast<float>(i % 4 + 1); });
}
void doubled(Rank& rank, bool faulty) {
  map<skipped_tail, 200>(rank, faulty, [](float x, size_t) { return 2.0f * x; });
}
void copied(Rank& rank, bool faulty) { map<one_too_far, 100>(rank, faulty, same); }
void summed(Rank& rank, bool faulty) { map<unwritten_sum, 30>(rank, faulty, same); }

void causal(Rank& rank, bool faulty) {
  constexpr size_t kN = 24;
  const cudaStream_t stream = rank.stream();
  std::vector<float> q(4 * kN), k(4 * kN), v(kN), expected(kN);
  for (size_t i = 0; i < q.size(); ++i)
    q[i] = std::sin(static_cast<float>(i)), k[i] = std::cos(3.0f * static_cast<float>(i));
  for (size_t i = 0; i < kN; ++i) v[i] = static_cast<float>(i % 5) - 2.0f;
  for (size_t i = 0; i < kN; ++i) {
    double sum = 0.0, out = 0.0;
    for (size_t j = 0; j <= i; ++j) {
      double score = 0.0;
      for (size_t d = 0; d < 4; ++d) score += static_cast<double>(q[4 * i + d]) * static_cast<double>(k[4 * j + d]);
      sum += std::exp(0.5 * score), out += std::exp(0.5 * score) * static_cast<double>(v[j]);
    }
    expected[i] = static_cast<float>(out / sum);
  }
  float* const y = rank.device<float>(kN);
  causal_off_by_one(faulty, y, rank.device(q), rank.device(k), rank.device(v), static_cast<int>(kN), stream);
  expect_equal(rank.fetch(y, kN, stream), expected);
}

void much_shared_memory(Rank& rank, bool faulty) {
  constexpr size_t kUsual = 48 * 1024, kWanted = 64 * 1024;
  check(allow_dynamic_shared(faulty ? kUsual : kWanted));
  run(rank, numbers(32), numbers(32, 1.0f),
      [=](float* to, const float* from, cudaStream_t s) { through_dynamic_shared(to, from, 32, kWanted, s); });
}

void countdown(Rank& rank, bool faulty) {
  const cudaStream_t stream = rank.stream();
  int* const x = rank.device(std::vector<int>{7});
  endless_loop(faulty, x, stream);
  expect_equal(rank.fetch(x, 1, stream), {0});
}

SimulationOptions impatient() {
  SimulationOptions options;
  options.kernels.max_instructions = 20000;
  return options;
}

}  // namespace

std::vector<FaultCase> copy_faults() {
  return {
      {"copy_wait_too_weak",
       "wait_group leaves a group under way that is read",
       {kInFlight, kRace},
       false,
       sum_of_tiles<weak_wait>},
      {"copy_of_another_thread",
       "no barrier between the wait and reads of what other threads copied",
       {kInFlight, kRace, kUninitialised},
       false,
       sum_of_tiles<copies_of_others>},
      {"copy_refills_too_early",
       "a stage is filled again while others may still read it",
       {kRace, kInFlight},
       false,
       sum_of_tiles<refill_while_read>},
      {"copies_into_one_stage",
       "two copies under way into the same stage",
       {kInFlight, kRace},
       false,
       sum_of_tiles<one_stage_for_two>},
      {"copy_source_overwritten",
       "the source is written before the copy was waited for",
       {kRace},
       true,
       overwritten_source},
      {"copy_never_waited_for", "a thread ends with a copy under way", {kInFlight}, false, copy_left_behind},
  };
}

std::vector<FaultCase> barrier_faults() {
  return {
      {"barrier_missing_before_read",
       "a tile is read before all have written it",
       {kRace, kUninitialised},
       false,
       tiles_backwards<read_before_written>},
      {"barrier_missing_before_refill",
       "a tile is written again before all have read it",
       {kRace},
       false,
       tiles_backwards<written_before_read>},
      {"barrier_missing_in_tree_sum",
       "one step of a reduction does not wait for the last",
       {kRace},
       false,
       all_summed<tree_sum, 64>},
      {"barrier_in_a_branch",
       "half of each warp comes to a barrier of its own",
       {kDivergence, kDeadlock},
       false,
       all_backwards<lanes_at_two_barriers, 64>},
      {"barrier_of_another_number",
       "two warps wait at different barriers",
       {kDeadlock},
       false,
       all_backwards<other_barrier, 64>},
      {"barrier_waits_for_too_many",
       "bar.sync counts a warp that never comes",
       {kDeadlock},
       false,
       all_backwards<count_too_large, 32>},
      {"barrier_counts_differ",
       "bar.arrive and bar.sync count different numbers of threads",
       {kDivergence},
       false,
       all_backwards<counts_differ, 32>},
      {"barrier_arrival_too_early",
       "bar.arrive comes before the writes that it announces",
       {kRace, kUninitialised},
       false,
       all_backwards<arrival_too_early, 32>},
      {"bins_not_zeroed",
       "a histogram in shared memory begins with what lies there",
       {kUninitialised},
       false,
       histogram<bins_not_zeroed>},
      {"bins_zeroed_too_late",
       "no barrier between zeroing and counting",
       {kRace, kUninitialised},
       false,
       histogram<bins_zeroed_too_late>},
  };
}

std::vector<FaultCase> lane_faults() {
  return {
      {"lanes_store_one_word", "all lanes store the same value to one word", {kRace}, false, largest},
      {"lane_stores_while_others_read", "the first lane overwrites what its siblings read", {kRace}, false, merged_lse},
      {"lanes_ordered_by_a_shuffle",
       "a shuffle is taken to order memory",
       {kRace},
       false,
       all_backwards<shuffle_for_order, 32>},
      {"lanes_taken_to_run_in_step",
       "a reduction within a warp without __syncwarp",
       {kRace},
       false,
       all_summed<sum_in_step, 32>},
      {"lane_not_in_its_mask",
       "lanes shuffle that their member mask leaves out",
       {kDivergence},
       false,
       all_summed<lane_not_in_mask, 32>},
      {"shuffle_from_lanes_that_ended",
       "a sum over lanes of which half have ended",
       {},
       true,
       all_summed<shuffle_from_the_gone, 32>},
      {"vote_in_a_branch", "a vote of all lanes that half of them never reach", {kDeadlock, kDivergence}, false, votes},
  };
}

std::vector<FaultCase> block_faults() {
  return {
      {"last_block_without_fence",
       "no fence between a block's result and its count",
       {kRace},
       false,
       sum_of_blocks<Fence::kNone>},
      {"last_block_with_block_fence", "the fence is for its own block", {kRace}, false, sum_of_blocks<Fence::kBlock>},
      {"sum_without_atomics", "blocks add to one word with a plain +=", {kRace}, false, atomic_sum},
      {"counter_read_plainly", "a counter of atomics is read by an ordinary load", {kRace}, false, counter},
      {"lock_without_fence", "a spin lock whose holders are not ordered", {kRace}, false, locked},
      {"atomic_of_block_scope", "blocks share a counter with atomicAdd_block", {kRace}, false, counted_by_blocks},
      {"stencil_in_place", "a block overwrites what its neighbour reads", {kRace}, false, in_place},
  };
}

std::vector<FaultCase> memory_faults() {
  return {
      {"one_past_the_end", "i <= n", {kOutOfBounds}, false, copied},
      {"one_before_the_start", "x[-1]", {kOutOfBounds}, false, differences},
      {"one_past_a_shared_array",
       "the last thread reads its right neighbour",
       {kOutOfBounds, kUninitialised},
       false,
       neighbours<beyond_shared>},
      {"one_past_dynamic_shared",
       "the same in dynamic shared memory",
       {kOutOfBounds},
       false,
       neighbours<beyond_dynamic_shared>},
      {"misaligned_vector",
       "16 bytes are read from an address that is no multiple of 16",
       {kMisaligned},
       false,
       misaligned},
      {"memory_nobody_wrote", "+= into fresh memory", {kUninitialised}, false, summed},
      {"constant_written", "a kernel writes to __constant__ memory", {kReadOnly}, false, weighted},
      {"tail_skipped", "a grid-stride loop rounds down", {kHost}, true, doubled},
      {"causal_mask_off_by_one", "each query sees the next key", {}, true, causal},
      {"shared_memory_not_allowed",
       "more dynamic shared memory than the kernel was allowed",
       {},
       true,
       much_shared_memory},
      {"endless_loop", "a loop's condition never comes true", {kEndless}, false, countdown, 1, impatient()},
  };
}

}  // namespace annulus::cudasim::faults
