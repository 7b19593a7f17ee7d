// Faults of barriers and of what lies in shared memory between them.
#include "tests/cudasim/faults/kernels.h"

namespace annulus::cudasim::faults {
namespace {

constexpr int kThreads = 64, kBins = 16;

template <bool kBeforeRead, bool kBeforeRefill>
__global__ void backwards_kernel(float* y, const float* x, int tiles) {
  __shared__ float tile[kThreads];
  const auto i = threadIdx.x;
  for (int t = 0; t < tiles; ++t) {
    tile[i] = x[t * kThreads + i];
    if (kBeforeRead) __syncthreads();
    y[t * kThreads + i] = tile[kThreads - 1 - i];
    if (kBeforeRefill) __syncthreads();
  }
}

template <bool kFaulty>
__global__ void tree_sum_kernel(float* y, const float* x) {
  __shared__ float tile[kThreads];
  const auto i = threadIdx.x;
  tile[i] = x[i];
  __syncthreads();
#pragma unroll
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (i < half) tile[i] += tile[i + half];
    if (!kFaulty || half != kThreads / 4) __syncthreads();
  }
  if (i == 0) y[0] = tile[0];
}

// Half of the lanes of a warp meet at a barrier of their own.
template <bool kFaulty>
__global__ void lanes_at_two_barriers_kernel(float* y, const float* x) {
  __shared__ float tile[kThreads];
  const auto i = threadIdx.x;
  tile[i] = x[i];
  if (kFaulty && i % 32 < 16) {
    __syncthreads();
    tile[i] += 0.0f;
  }
  __syncthreads();
  y[i] = tile[kThreads - 1 - i];
}

template <bool kFaulty>
__global__ void other_barrier_kernel(float* y, const float* x) {
  __shared__ float tile[kThreads];
  const auto i = threadIdx.x;
  tile[i] = x[i];
  if (kFaulty && i >= 32)
    asm volatile("bar.sync 2;" ::: "memory");
  else
    asm volatile("bar.sync 1;" ::: "memory");
  y[i] = tile[kThreads - 1 - i];
}

// The first warp fills the tile and goes on; the second waits for it.
template <int kGiving, int kTaking>
__global__ void hand_over_kernel(float* y, const float* x) {
  __shared__ float tile[32];
  const auto i = threadIdx.x;
  if (i < 32) {
    tile[i] = x[i];
    asm volatile("bar.arrive 1, %0;" ::"n"(kGiving) : "memory");
  } else {
    asm volatile("bar.sync 1, %0;" ::"n"(kTaking) : "memory");
    y[i - 32] = tile[63 - i];
  }
}

template <bool kFaulty>
__global__ void arrival_too_early_kernel(float* y, const float* x) {
  __shared__ float tile[32];
  const auto i = threadIdx.x;
  if (i < 32) {
    if (kFaulty) asm volatile("bar.arrive 1, 64;" ::: "memory");
    tile[i] = x[i];
    if (!kFaulty) asm volatile("bar.arrive 1, 64;" ::: "memory");
  } else {
    asm volatile("bar.sync 1, 64;" ::: "memory");
    y[i - 32] = tile[63 - i];
  }
}

template <bool kZero, bool kBarrier>
__global__ void histogram_kernel(int* counts, const int* x) {
  __shared__ int bins[kBins];
  const auto i = threadIdx.x;
  if (kZero && i < kBins) bins[i] = 0;
  if (kBarrier) __syncthreads();
  atomicAdd(bins + x[i], 1);
  __syncthreads();
  if (i < kBins) counts[i] = bins[i];
}

}  // namespace

void read_before_written(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream) {
  const auto kernel = faulty ? backwards_kernel<false, true> : backwards_kernel<true, true>;
  kernel<<<1, kThreads, 0, stream>>>(y, x, tiles);
}
void written_before_read(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream) {
  const auto kernel = faulty ? backwards_kernel<true, false> : backwards_kernel<true, true>;
  kernel<<<1, kThreads, 0, stream>>>(y, x, tiles);
}
void tree_sum(bool faulty, float* y, const float* x, cudaStream_t stream) {
  const auto kernel = faulty ? tree_sum_kernel<true> : tree_sum_kernel<false>;
  kernel<<<1, kThreads, 0, stream>>>(y, x);
}
void lanes_at_two_barriers(bool faulty, float* y, const float* x, cudaStream_t stream) {
  const auto kernel = faulty ? lanes_at_two_barriers_kernel<true> : lanes_at_two_barriers_kernel<false>;
  kernel<<<1, kThreads, 0, stream>>>(y, x);
}
void other_barrier(bool faulty, float* y, const float* x, cudaStream_t stream) {
  const auto kernel = faulty ? other_barrier_kernel<true> : other_barrier_kernel<false>;
  kernel<<<1, kThreads, 0, stream>>>(y, x);
}
void count_too_large(bool faulty, float* y, const float* x, cudaStream_t stream) {
  const auto kernel = faulty ? hand_over_kernel<96, 96> : hand_over_kernel<64, 64>;
  kernel<<<1, kThreads, 0, stream>>>(y, x);
}
void counts_differ(bool faulty, float* y, const float* x, cudaStream_t stream) {
  const auto kernel = faulty ? hand_over_kernel<64, 96> : hand_over_kernel<64, 64>;
  kernel<<<1, kThreads, 0, stream>>>(y, x);
}
void arrival_too_early(bool faulty, float* y, const float* x, cudaStream_t stream) {
  const auto kernel = faulty ? arrival_too_early_kernel<true> : arrival_too_early_kernel<false>;
  kernel<<<1, kThreads, 0, stream>>>(y, x);
}
void bins_not_zeroed(bool faulty, int* counts, const int* x, cudaStream_t stream) {
  const auto kernel = faulty ? histogram_kernel<false, true> : histogram_kernel<true, true>;
  kernel<<<1, kThreads, 0, stream>>>(counts, x);
}
void bins_zeroed_too_late(bool faulty, int* counts, const int* x, cudaStream_t stream) {
  const auto kernel = faulty ? histogram_kernel<true, false> : histogram_kernel<true, true>;
  kernel<<<1, kThreads, 0, stream>>>(counts, x);
}

}  // namespace annulus::cudasim::faults
