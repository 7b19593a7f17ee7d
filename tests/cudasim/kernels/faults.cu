// Kernels that are wrong, each in one way.

extern "C" __global__ void one_too_far(float* y, const float* x, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) y[i] = x[i];  // should be <
}

extern "C" __global__ void misaligned_vector(float4* y, const float* x) {
  y[threadIdx.x] = *reinterpret_cast<const float4*>(x + 1 + 4 * threadIdx.x);
}

extern "C" __global__ void unwritten_shared(float* y) {
  __shared__ float tile[64];
  if (threadIdx.x < 63) tile[threadIdx.x] = 1.0f;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}

extern "C" __global__ void beyond_shared(float* y) {
  __shared__ float first[32], second[32];
  first[threadIdx.x] = 1.0f, second[threadIdx.x] = 2.0f;
  __syncthreads();
  y[threadIdx.x] = first[threadIdx.x + static_cast<int>(y[0])] + second[threadIdx.x];
}

// The first warp meets at another barrier than the others.
extern "C" __global__ void barriers_apart(int* y) {
  if (threadIdx.x < 32)
    asm volatile("bar.sync 1;");
  else
    asm volatile("bar.sync 2;");
  y[threadIdx.x] = 1;
}

extern "C" __global__ void shuffle_alone(int* y) {
  int value = threadIdx.x;
  if (threadIdx.x < 8)
    value = __shfl_sync(0x0000ffffu, value, 3);  // lanes 8 to 15 never come
  else if (threadIdx.x < 16)
    __syncthreads();
  y[threadIdx.x] = value;
}

extern "C" __global__ void endless(volatile int* flag) {
  while (*flag == 0) {
  }
}
