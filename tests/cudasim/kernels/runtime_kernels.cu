// Small kernels with host launchers, for tests of the simulated runtime.
#include "tests/cudasim/kernels/runtime_kernels.h"

__device__ int launches = 3;

namespace {

__global__ void add_kernel(float* y, const float* x, float a, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] + a;
  if (i == 0) ++launches;
}

__global__ void sum_dynamic_kernel(float* sums, const float* x) {
  extern __shared__ float tile[];
  tile[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) tile[threadIdx.x] += tile[threadIdx.x + half];
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = tile[0];
}

__global__ void beyond_kernel(float* y, int n) { y[n + threadIdx.x] = 1.0f; }

}  // namespace

void add(float* y, const float* x, float a, int n, cudaStream_t stream) {
  add_kernel<<<(n + 127) / 128, 128, 0, stream>>>(y, x, a, n);
}
void sum_dynamic(float* sums, const float* x, int blocks, int threads, size_t shared_bytes, cudaStream_t stream) {
  sum_dynamic_kernel<<<blocks, threads, shared_bytes, stream>>>(sums, x);
}
const void* sum_dynamic_stub() { return reinterpret_cast<const void*>(sum_dynamic_kernel); }
void write_beyond(float* y, int n, cudaStream_t stream) { beyond_kernel<<<1, 1, 0, stream>>>(y, n); }
int* launches_on_device() {
  void* address = nullptr;
  cudaGetSymbolAddress(&address, launches);
  return static_cast<int*>(address);
}
