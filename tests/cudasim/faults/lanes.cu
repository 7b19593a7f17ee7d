// Faults among the lanes of one warp, which a GPU may run in any order between two __syncwarp().
#include "tests/cudasim/faults/kernels.h"

namespace annulus::cudasim::faults {
namespace {

constexpr unsigned kAll = 0xffffffffu;

__device__ float largest(float value) {
  for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAll, value, step));
  return value;
}

template <bool kFaulty>
__global__ void same_word_kernel(float* y, const float* x) {
  const float all = largest(x[threadIdx.x]);
  if (kFaulty || threadIdx.x == 0) y[0] = all;
}

template <bool kFaulty>
__global__ void first_lane_stores_kernel(float* y, float* lse) {
  const float before = lse[0];
  if (!kFaulty) __syncwarp();
  if (threadIdx.x == 0) lse[0] = before + 1.0f;
  y[threadIdx.x] = before;
}

template <bool kFaulty>
__global__ void shuffle_for_order_kernel(float* y, const float* x) {
  __shared__ float tile[32];
  const auto i = threadIdx.x;
  tile[i] = x[i];
  const float last = __shfl_sync(kAll, x[i], 31);
  if (!kFaulty) __syncwarp();
  y[i] = tile[31 - i] + (last - x[31]);
}

template <bool kFaulty>
__global__ void sum_in_step_kernel(float* y, const float* x) {
  __shared__ float tile[32];
  const auto i = threadIdx.x;
  tile[i] = x[i];
  __syncwarp();
  for (unsigned half = 16; half > 0; half /= 2) {
    if (i < half) tile[i] += tile[i + half];
    if (!kFaulty) __syncwarp();
  }
  if (i == 0) y[0] = tile[0];
}

template <bool kFaulty>
__global__ void lane_not_in_mask_kernel(float* y, const float* x) {
  float value = x[threadIdx.x];
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kFaulty ? 0x0000ffffu : kAll, value, step);
  if (threadIdx.x == 0) y[0] = value;
}

// Lanes 16 and above have ended when the others add up what is left.
template <bool kFaulty>
__global__ void shuffle_from_the_gone_kernel(float* y, const float* x) {
  float value = x[threadIdx.x];
  if (!kFaulty) value += __shfl_down_sync(kAll, value, 16);
  if (threadIdx.x >= 16) return;
  for (int step = kFaulty ? 16 : 8; step > 0; step /= 2) value += __shfl_xor_sync(kAll, value, step);
  if (threadIdx.x == 0) y[0] = value;
}

template <bool kFaulty>
__global__ void vote_in_branch_kernel(float* y, const float* x) {
  const float value = x[threadIdx.x];
  unsigned positive = kAll;
  if (!kFaulty || value > 0.0f) positive = __ballot_sync(kAll, value > 0.0f);
  if (kFaulty && value <= 0.0f) __syncthreads();
  if (threadIdx.x == 0) y[0] = static_cast<float>(__popc(positive));
}

}  // namespace

void same_word(bool faulty, float* y, const float* x, cudaStream_t stream) {
  (faulty ? same_word_kernel<true> : same_word_kernel<false>)<<<1, 32, 0, stream>>>(y, x);
}
void first_lane_stores(bool faulty, float* y, float* lse, cudaStream_t stream) {
  (faulty ? first_lane_stores_kernel<true> : first_lane_stores_kernel<false>)<<<1, 32, 0, stream>>>(y, lse);
}
void shuffle_for_order(bool faulty, float* y, const float* x, cudaStream_t stream) {
  (faulty ? shuffle_for_order_kernel<true> : shuffle_for_order_kernel<false>)<<<1, 32, 0, stream>>>(y, x);
}
void sum_in_step(bool faulty, float* y, const float* x, cudaStream_t stream) {
  (faulty ? sum_in_step_kernel<true> : sum_in_step_kernel<false>)<<<1, 32, 0, stream>>>(y, x);
}
void lane_not_in_mask(bool faulty, float* y, const float* x, cudaStream_t stream) {
  (faulty ? lane_not_in_mask_kernel<true> : lane_not_in_mask_kernel<false>)<<<1, 32, 0, stream>>>(y, x);
}
void shuffle_from_the_gone(bool faulty, float* y, const float* x, cudaStream_t stream) {
  (faulty ? shuffle_from_the_gone_kernel<true> : shuffle_from_the_gone_kernel<false>)<<<1, 32, 0, stream>>>(y, x);
}
void vote_in_branch(bool faulty, float* y, const float* x, cudaStream_t stream) {
  (faulty ? vote_in_branch_kernel<true> : vote_in_branch_kernel<false>)<<<1, 32, 0, stream>>>(y, x);
}

}  // namespace annulus::cudasim::faults
