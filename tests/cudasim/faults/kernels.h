#pragma once
// Launchers of kernels with one fault each, which `faulty` turns on. They enqueue and return.
#include <cuda_runtime_api.h>

#include <cstdint>

namespace annulus::cudasim::faults {

// copies.cu: 64 threads a block; x has `tiles` tiles of 64 elements, y 64.
inline constexpr int kTile = 64;
/// y[i] = the sum over tiles of x[63 - i]: a pipeline of two stages.
void weak_wait(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream);
void copies_of_others(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream);
void refill_while_read(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream);
void one_stage_for_two(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream);
/// y[i] = x[i], and x[i] = -1 afterwards.
void source_overwritten(bool faulty, float* y, float* x, cudaStream_t stream);
/// y[i] = x[i]; a second tile is fetched and not used.
void exit_in_flight(bool faulty, float* y, const float* x, cudaStream_t stream);

// barriers.cu: 64 threads a block.
/// y = x backwards, tile by tile.
void read_before_written(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream);
void written_before_read(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream);
/// y[0] = the sum of 64 elements.
void tree_sum(bool faulty, float* y, const float* x, cudaStream_t stream);
/// y[i] = x[63 - i]
void lanes_at_two_barriers(bool faulty, float* y, const float* x, cudaStream_t stream);
void other_barrier(bool faulty, float* y, const float* x, cudaStream_t stream);
/// The first warp hands 32 elements to the second: y[i] = x[31 - i], 32 of them.
void count_too_large(bool faulty, float* y, const float* x, cudaStream_t stream);
void counts_differ(bool faulty, float* y, const float* x, cudaStream_t stream);
void arrival_too_early(bool faulty, float* y, const float* x, cudaStream_t stream);
/// counts[v] = how many of 64 elements are v, of 16 values.
void bins_not_zeroed(bool faulty, int* counts, const int* x, cudaStream_t stream);
void bins_zeroed_too_late(bool faulty, int* counts, const int* x, cudaStream_t stream);

// lanes.cu: one block of one warp.
/// y[0] = the largest of 32 elements.
void same_word(bool faulty, float* y, const float* x, cudaStream_t stream);
/// lse[0] = lse[0] + 1, y[i] = lse[0] as it was.
void first_lane_stores(bool faulty, float* y, float* lse, cudaStream_t stream);
/// y[i] = x[31 - i]
void shuffle_for_order(bool faulty, float* y, const float* x, cudaStream_t stream);
/// y[0] = the sum of 32 elements.
void sum_in_step(bool faulty, float* y, const float* x, cudaStream_t stream);
void lane_not_in_mask(bool faulty, float* y, const float* x, cudaStream_t stream);
void shuffle_from_the_gone(bool faulty, float* y, const float* x, cudaStream_t stream);
void vote_in_branch(bool faulty, float* y, const float* x, cudaStream_t stream);

// blocks.cu: four blocks of 32 threads; x has 128 elements.
/// y[0] = the sum of all, by the block that comes last; `partial` has 4 elements, `count` is 0 before and after.
enum class Fence { kNone, kBlock, kDevice, kBeforeBarrier };
void last_block_sums(Fence fence, float* y, float* partial, unsigned* count, const float* x, cudaStream_t stream);
/// y[0] += the sum of all; `atomically` adds in any order.
void add_to_one_word(bool faulty, float* y, const float* x, cudaStream_t stream);
/// count[0] += 128, and seen[b] is count[0] at some time of block b.
void plain_read_of_counter(bool faulty, int* seen, int* count, cudaStream_t stream);
/// value[0] += 4, under a lock.
void lock_without_fence(bool faulty, int* value, int* lock, cudaStream_t stream);
/// count[0] += 128
void scope_too_narrow(bool faulty, int* count, cudaStream_t stream);
/// y[i] = x[i] + x[i + 1], the last one x[i]; in place where faulty.
void neighbours_in_place(bool faulty, float* y, float* x, cudaStream_t stream);

// memory.cu: y and x of n elements unless said.
void one_too_far(bool faulty, float* y, const float* x, int n, cudaStream_t stream);
/// y[i] = x[i] - x[i - 1], y[0] = x[0]
void before_the_start(bool faulty, float* y, const float* x, int n, cudaStream_t stream);
/// Runs of 32: y[i] = the sum of x[i] and its neighbour to the right, the last one alone.
void beyond_shared(bool faulty, float* y, const float* x, cudaStream_t stream);
void beyond_dynamic_shared(bool faulty, float* y, const float* x, cudaStream_t stream);
/// y = x for a multiple of 4 elements.
void misaligned_vector(bool faulty, float* y, const float* x, int n, cudaStream_t stream);
/// y += x where clean, with y unwritten before: y = 0 first.
void unwritten_sum(bool faulty, float* y, const float* x, int n, cudaStream_t stream);
/// y[i] = x[i] * table[i % 4], table in constant memory.
void write_to_constant(bool faulty, float* y, const float* x, int n, cudaStream_t stream);
/// y[i] = 2 x[i]
void skipped_tail(bool faulty, float* y, const float* x, int n, cudaStream_t stream);
/// Causal attention of n queries to n keys of width 4, values of width 1: y[i] = softmax(q_i k_j / 2) v_j, j <= i.
void causal_off_by_one(bool faulty, float* y, const float* q, const float* k, const float* v, int n,
                       cudaStream_t stream);
/// y[i] = x[i] + 1, in `bytes` of dynamic shared memory.
void through_dynamic_shared(float* y, const float* x, int n, size_t bytes, cudaStream_t stream);
/// Allows through_dynamic_shared() so many.
cudaError_t allow_dynamic_shared(size_t bytes);
/// Counts x[0] down to zero in a loop.
void endless_loop(bool faulty, int* x, cudaStream_t stream);

// work.cu: what host programs of the suite enqueue.
/// y[i] = x[i] + a
void add(float* y, const float* x, float a, int n, cudaStream_t stream);
/// y[i] += x[i]
void accumulate(float* y, const float* x, int n, cudaStream_t stream);

}  // namespace annulus::cudasim::faults
