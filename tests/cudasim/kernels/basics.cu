// Small kernels with known results: arithmetic, shuffles, shared memory, atomics, divergence, function calls.

#include <cassert>
#include <cstdint>

extern "C" __global__ void vector_add(float* sum, const float* a, const float* b, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) sum[i] = a[i] + b[i];
}

// One float4 a thread.
extern "C" __global__ void vector_scale(float4* y, const float4* x, float by, int quads) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= quads) return;
  const float4 v = x[i];
  y[i] = {v.x * by, v.y * by, v.z * by, v.w * by};
}

// The sum of each block's 256 integers.
extern "C" __global__ void block_sum(int* sums, const int* values) {
  __shared__ int of_warp[8];
  int sum = values[blockIdx.x * 256 + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffffu, sum, step);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x >= 8) return;
  sum = of_warp[threadIdx.x];
  for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(0xffu, sum, step);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// Blocks of 32 x 8 threads each move a tile of 32 x 32. `Pad` 1: no two lanes of a warp meet in a bank.
template <int Pad>
__device__ void transpose(float* to, const float* from, int n) {
  __shared__ float tile[32][32 + Pad];
  const int x = blockIdx.x * 32, y = blockIdx.y * 32;
  for (int i = threadIdx.y; i < 32; i += 8) tile[i][threadIdx.x] = from[(y + i) * n + x + threadIdx.x];
  __syncthreads();
  for (int i = threadIdx.y; i < 32; i += 8) to[(x + i) * n + y + threadIdx.x] = tile[threadIdx.x][i];
}
extern "C" __global__ void transpose_padded(float* to, const float* from, int n) { transpose<1>(to, from, n); }
extern "C" __global__ void transpose_conflicts(float* to, const float* from, int n) { transpose<0>(to, from, n); }

extern "C" __global__ void histogram(unsigned* counts, const uint8_t* values, int n) {
  __shared__ unsigned mine[256];
  for (int i = threadIdx.x; i < 256; i += blockDim.x) mine[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&mine[values[i]], 1u);
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += blockDim.x) atomicAdd(&counts[i], mine[i]);
}

// Loops whose lengths differ from lane to lane, with a vote of those who are still in.
extern "C" __global__ void collatz(int* steps, int* company, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  long long value = i + 1;
  int count = 0;
  while (value != 1) {
    value = value % 2 == 0 ? value / 2 : 3 * value + 1;
    ++count;
  }
  __syncwarp();
  if (i < n) steps[i] = count;
  company[i] = __popc(__ballot_sync(0xffffffffu, i < n));
}

// Half of each warp shuffles with itself while the other half does something else.
extern "C" __global__ void half_warps(int* out) {
  const int lane = threadIdx.x % 32;
  int value = lane;
  if (lane < 16) {
    for (int step = 8; step > 0; step /= 2) value += __shfl_xor_sync(0x0000ffffu, value, step);
  } else {
    for (int i = 0; i < lane; ++i) value += i;
    value = __reduce_max_sync(0xffff0000u, value);
  }
  out[threadIdx.x] = value;
}

__device__ __noinline__ float iterate(float x, int n) {
  for (int i = 0; i < n; ++i) x = x * x + 0.25f;
  return x;
}

// A call under divergence, a switch and a table in constant memory.
__constant__ float kTable[4] = {1.0f, 2.0f, 4.0f, 8.0f};
__device__ int calls = 0;
extern "C" __global__ void calls_and_tables(float* out, const float* in, const int* which) {
  const int i = threadIdx.x;
  float value = in[i];
  if (i % 3 != 0) value = iterate(value, i % 5);
  switch (which[i]) {
    case 0:
      value += 1;
      break;
    case 1:
      value *= 3;
      break;
    case 2:
      value = -value;
      atomicAdd(&calls, 1);
      break;
    case 3:
      value = value / 7;
      break;
    case 4:
      value = sqrtf(fabsf(value));
      break;
    case 5:
      value = 0;
      break;
    case 6:
      value = value - 9;
      break;
    default:
      value *= kTable[i & 3];
  }
  out[i] = value;
}

// Every thread takes a lock that one thread of its own warp may hold.
extern "C" __global__ void spin_lock(int* lock, int* counter) {
  bool done = false;
  while (!done) {
    if (atomicCAS(lock, 0, 1) == 0) {
      *(volatile int*)counter = *(volatile int*)counter + 1;
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
  }
}

extern "C" __global__ void any_of_block(int* out, const int* values, int limit) {
  const bool high = values[threadIdx.x] > limit;
  const int count = __syncthreads_count(high), any = __syncthreads_or(high), all = __syncthreads_and(high);
  if (threadIdx.x == 0) out[0] = count, out[1] = any, out[2] = all;
}

extern "C" __global__ void asserts(const int* values) { assert(values[threadIdx.x] < 40); }
