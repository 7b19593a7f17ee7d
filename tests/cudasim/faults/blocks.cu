// Faults among blocks, which know of one another through fences and strong accesses alone.
#include "tests/cudasim/faults/kernels.h"

namespace annulus::cudasim::faults {
namespace {

constexpr int kBlocks = 4, kWarp = 32;

__device__ float sum_of_lanes(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

template <Fence kFence>
__global__ void last_block_kernel(float* y, float* partial, unsigned* count, const float* x) {
  __shared__ bool last;
  const float sum = sum_of_lanes(x[blockIdx.x * kWarp + threadIdx.x]);
  if (threadIdx.x == 1) partial[blockIdx.x] = sum;
  if (kFence == Fence::kBeforeBarrier) __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    if (kFence == Fence::kBlock) __threadfence_block();
    if (kFence == Fence::kDevice) __threadfence();
    last = atomicAdd(count, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!last) return;
  const float total = sum_of_lanes(threadIdx.x < gridDim.x ? partial[threadIdx.x] : 0.0f);
  if (threadIdx.x == 0) {
    y[0] = total;
    *count = 0;
  }
}

template <bool kFaulty>
__global__ void add_to_one_word_kernel(float* y, const float* x) {
  const float sum = sum_of_lanes(x[blockIdx.x * kWarp + threadIdx.x]);
  if (threadIdx.x != 0) return;
  if (kFaulty)
    y[0] += sum;
  else
    atomicAdd(y, sum);
}

template <bool kFaulty>
__global__ void plain_read_of_counter_kernel(int* seen, int* count) {
  atomicAdd(count, 1);
  if (threadIdx.x != 0) return;
  seen[blockIdx.x] = kFaulty ? *count : atomicAdd(count, 0);
}

template <bool kFaulty>
__global__ void lock_without_fence_kernel(int* value, int* lock) {
  if (threadIdx.x != 0) return;
  while (atomicCAS(lock, 0, 1) != 0) {
  }
  if (!kFaulty) __threadfence();
  *value += 1;
  if (!kFaulty) __threadfence();
  atomicExch(lock, 0);
}

template <bool kFaulty>
__global__ void scope_too_narrow_kernel(int* count) {
  if (kFaulty)
    atomicAdd_block(count, 1);
  else
    atomicAdd(count, 1);
}

template <bool kFaulty>
__global__ void neighbours_in_place_kernel(float* y, float* x) {
  const auto i = blockIdx.x * kWarp + threadIdx.x;
  const float right = i + 1 < kBlocks * kWarp ? x[i + 1] : 0.0f;
  __syncthreads();
  (kFaulty ? x : y)[i] = x[i] + right;
}

}  // namespace

void last_block_sums(Fence fence, float* y, float* partial, unsigned* count, const float* x, cudaStream_t stream) {
  const auto kernel = fence == Fence::kNone     ? last_block_kernel<Fence::kNone>
                      : fence == Fence::kBlock  ? last_block_kernel<Fence::kBlock>
                      : fence == Fence::kDevice ? last_block_kernel<Fence::kDevice>
                                                : last_block_kernel<Fence::kBeforeBarrier>;
  kernel<<<kBlocks, kWarp, 0, stream>>>(y, partial, count, x);
}
void add_to_one_word(bool faulty, float* y, const float* x, cudaStream_t stream) {
  (faulty ? add_to_one_word_kernel<true> : add_to_one_word_kernel<false>)<<<kBlocks, kWarp, 0, stream>>>(y, x);
}
void plain_read_of_counter(bool faulty, int* seen, int* count, cudaStream_t stream) {
  const auto kernel = faulty ? plain_read_of_counter_kernel<true> : plain_read_of_counter_kernel<false>;
  kernel<<<kBlocks, kWarp, 0, stream>>>(seen, count);
}
void lock_without_fence(bool faulty, int* value, int* lock, cudaStream_t stream) {
  (faulty ? lock_without_fence_kernel<true> : lock_without_fence_kernel<false>)<<<kBlocks, kWarp, 0, stream>>>(value,
                                                                                                               lock);
}
void scope_too_narrow(bool faulty, int* count, cudaStream_t stream) {
  (faulty ? scope_too_narrow_kernel<true> : scope_too_narrow_kernel<false>)<<<kBlocks, kWarp, 0, stream>>>(count);
}
void neighbours_in_place(bool faulty, float* y, float* x, cudaStream_t stream) {
  (faulty ? neighbours_in_place_kernel<true> : neighbours_in_place_kernel<false>)<<<kBlocks, kWarp, 0, stream>>>(y, x);
}

}  // namespace annulus::cudasim::faults
