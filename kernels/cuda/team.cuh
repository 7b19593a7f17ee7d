#pragma once
// A team of threads that works on one row: a warp, or the whole block of kThreads. Its sums are added in an order that
// depends on nothing but the team's size, and every thread has the result.
#include "kernels/cuda/launch.cuh"

namespace annulus::cuda {

/// Rows that are longer go to whole blocks: a warp would take too long over one.
constexpr int64_t kLongestWarpRow = 1024;

template <int kTeam>
__device__ inline int64_t team_index() {
  return int64_t{blockIdx.x} * (kThreads / kTeam) + threadIdx.x / kTeam;
}

template <int kTeam>
__device__ inline int team_lane() {
  return static_cast<int>(threadIdx.x) % kTeam;
}

template <int kTeam>
inline unsigned team_blocks(int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, kThreads / kTeam));
}

/// All threads of the team come here. join(a, b) must not care which comes first.
template <int kTeam, class T, class Join>
__device__ inline T over_team(T x, Join join) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) x = join(x, __shfl_xor_sync(0xffffffffu, x, step));
  if constexpr (kTeam > kWarp) {
    static_assert(kTeam == kThreads);
    __shared__ T of_warp[kTeam / kWarp];
    __syncthreads();  // the values of the last call have been read
    if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = x;
    __syncthreads();
    x = of_warp[0];
#pragma unroll
    for (int warp = 1; warp < kTeam / kWarp; ++warp) x = join(x, of_warp[warp]);
  }
  return x;
}

template <int kTeam, class T>
__device__ inline T team_sum(T x) {
  return over_team<kTeam>(x, [](T a, T b) { return a + b; });
}

template <int kTeam>
__device__ inline float team_max(float x) {
  return over_team<kTeam>(x, [](float a, float b) { return fmaxf(a, b); });
}

}  // namespace annulus::cuda
