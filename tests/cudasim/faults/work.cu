// Kernels without a fault, for host programs that have one.
#include "tests/cudasim/faults/kernels.h"

namespace annulus::cudasim::faults {
namespace {

constexpr int kThreads = 32;

__global__ void add_kernel(float* y, const float* x, float a, int n) {
  const auto i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (i < n) y[i] = x[i] + a;
}

__global__ void accumulate_kernel(float* y, const float* x, int n) {
  const auto i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (i < n) y[i] += x[i];
}

}  // namespace

void add(float* y, const float* x, float a, int n, cudaStream_t stream) {
  add_kernel<<<(n + kThreads - 1) / kThreads, kThreads, 0, stream>>>(y, x, a, n);
}
void accumulate(float* y, const float* x, int n, cudaStream_t stream) {
  accumulate_kernel<<<(n + kThreads - 1) / kThreads, kThreads, 0, stream>>>(y, x, n);
}

}  // namespace annulus::cudasim::faults
