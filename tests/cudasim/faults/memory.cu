// Faults of addresses and of what lies there, and two that only a wrong result shows.
#include "tests/cudasim/faults/kernels.h"

namespace annulus::cudasim::faults {
namespace {

constexpr int kThreads = 32;

__constant__ float table[4] = {1.0f, 2.0f, 3.0f, 4.0f};

template <bool kFaulty>
__global__ void one_too_far_kernel(float* y, const float* x, int n) {
  const auto i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (kFaulty ? i <= n : i < n) y[i] = x[i];
}

template <bool kFaulty>
__global__ void before_the_start_kernel(float* y, const float* x, int n) {
  const auto i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (i < n) y[i] = x[i] - (kFaulty || i > 0 ? x[i - 1] : 0.0f);
}

template <bool kFaulty>
__global__ void beyond_shared_kernel(float* y, const float* x) {
  __shared__ float tile[kThreads];
  const auto i = threadIdx.x;
  tile[i] = x[i];
  __syncthreads();
  y[i] = tile[i] + (kFaulty || i + 1 < kThreads ? tile[i + 1] : 0.0f);
}

template <bool kFaulty>
__global__ void beyond_dynamic_shared_kernel(float* y, const float* x) {
  extern __shared__ float dynamic[];
  const auto i = threadIdx.x;
  dynamic[i] = x[i];
  __syncthreads();
  y[i] = dynamic[i] + (kFaulty || i + 1 < kThreads ? dynamic[i + 1] : 0.0f);
}

template <bool kFaulty>
__global__ void misaligned_vector_kernel(float* y, const float* x, int n) {
  const auto i = static_cast<int>(4 * threadIdx.x);
  if (i >= n) return;
  const float4 four = *reinterpret_cast<const float4*>(x + i + (kFaulty ? 1 : 0));
  *reinterpret_cast<float4*>(y + i) = four;
}

template <bool kFaulty>
__global__ void unwritten_sum_kernel(float* y, const float* x, int n) {
  const auto i = static_cast<int>(threadIdx.x);
  if (i >= n) return;
  if (!kFaulty) y[i] = 0.0f;
  y[i] += x[i];
}

template <bool kFaulty>
__global__ void write_to_constant_kernel(float* y, const float* x, int n) {
  const auto i = static_cast<int>(threadIdx.x);
  auto* writable = const_cast<float*>(table);
  asm volatile("" : "+l"(writable));  // or the compiler would refuse the store
  if (kFaulty && i == 0) writable[0] = 1.0f;
  if (i < n) y[i] = x[i] * table[i % 4];
}

template <bool kFaulty>
__global__ void skipped_tail_kernel(float* y, const float* x, int n) {
  const auto all = static_cast<int>(gridDim.x * kThreads);
  const int rounds = kFaulty ? n / all : (n + all - 1) / all;
  for (int round = 0; round < rounds; ++round) {
    const auto i = round * all + static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
    if (i < n) y[i] = 2.0f * x[i];
  }
}

template <bool kFaulty>
__global__ void causal_kernel(float* y, const float* q, const float* k, const float* v, int n) {
  const auto i = static_cast<int>(threadIdx.x);
  if (i >= n) return;
  float largest = -INFINITY, sum = 0.0f, out = 0.0f;
  for (int j = 0; j < n; ++j) {
    if (kFaulty ? j > i + 1 : j > i) continue;
    float score = 0.0f;
    for (int d = 0; d < 4; ++d) score += q[4 * i + d] * k[4 * j + d];
    const float now = fmaxf(largest, 0.5f * score), shrink = __expf(largest - now), weight = __expf(0.5f * score - now);
    sum = sum * shrink + weight;
    out = out * shrink + weight * v[j];
    largest = now;
  }
  y[i] = out / sum;
}

__global__ void through_dynamic_shared_kernel(float* y, const float* x, int n) {
  extern __shared__ float dynamic[];
  const auto i = static_cast<int>(threadIdx.x);
  if (i < n) dynamic[i] = x[i];
  __syncwarp();
  if (i < n) y[i] = dynamic[i] + 1.0f;
}

template <bool kFaulty>
__global__ void endless_kernel(int* x) {
  volatile int* const left = x;
  while (*left != 0) *left = *left - (kFaulty ? 2 : 1);
}

}  // namespace

void one_too_far(bool faulty, float* y, const float* x, int n, cudaStream_t stream) {
  (faulty ? one_too_far_kernel<true> : one_too_far_kernel<false>)<<<n / kThreads + 1, kThreads, 0, stream>>>(y, x, n);
}
void before_the_start(bool faulty, float* y, const float* x, int n, cudaStream_t stream) {
  const auto kernel = faulty ? before_the_start_kernel<true> : before_the_start_kernel<false>;
  kernel<<<n / kThreads + 1, kThreads, 0, stream>>>(y, x, n);
}
void beyond_shared(bool faulty, float* y, const float* x, cudaStream_t stream) {
  (faulty ? beyond_shared_kernel<true> : beyond_shared_kernel<false>)<<<1, kThreads, 0, stream>>>(y, x);
}
void beyond_dynamic_shared(bool faulty, float* y, const float* x, cudaStream_t stream) {
  const auto kernel = faulty ? beyond_dynamic_shared_kernel<true> : beyond_dynamic_shared_kernel<false>;
  kernel<<<1, kThreads, kThreads * sizeof(float), stream>>>(y, x);
}
void misaligned_vector(bool faulty, float* y, const float* x, int n, cudaStream_t stream) {
  (faulty ? misaligned_vector_kernel<true> : misaligned_vector_kernel<false>)<<<1, kThreads, 0, stream>>>(y, x, n);
}
void unwritten_sum(bool faulty, float* y, const float* x, int n, cudaStream_t stream) {
  (faulty ? unwritten_sum_kernel<true> : unwritten_sum_kernel<false>)<<<1, kThreads, 0, stream>>>(y, x, n);
}
void write_to_constant(bool faulty, float* y, const float* x, int n, cudaStream_t stream) {
  (faulty ? write_to_constant_kernel<true> : write_to_constant_kernel<false>)<<<1, kThreads, 0, stream>>>(y, x, n);
}
void skipped_tail(bool faulty, float* y, const float* x, int n, cudaStream_t stream) {
  (faulty ? skipped_tail_kernel<true> : skipped_tail_kernel<false>)<<<2, kThreads, 0, stream>>>(y, x, n);
}
void causal_off_by_one(bool faulty, float* y, const float* q, const float* k, const float* v, int n,
                       cudaStream_t stream) {
  (faulty ? causal_kernel<true> : causal_kernel<false>)<<<1, kThreads, 0, stream>>>(y, q, k, v, n);
}
void through_dynamic_shared(float* y, const float* x, int n, size_t bytes, cudaStream_t stream) {
  through_dynamic_shared_kernel<<<1, kThreads, bytes, stream>>>(y, x, n);
}
cudaError_t allow_dynamic_shared(size_t bytes) {
  return cudaFuncSetAttribute(through_dynamic_shared_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(bytes));
}
void endless_loop(bool faulty, int* x, cudaStream_t stream) {
  (faulty ? endless_kernel<true> : endless_kernel<false>)<<<1, 1, 0, stream>>>(x);
}

}  // namespace annulus::cudasim::faults
