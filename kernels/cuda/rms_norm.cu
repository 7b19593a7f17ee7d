// RMSNorm, arXiv:1910.07467: y = x * rstd * gain, rstd = 1 / sqrt(mean(x^2) + epsilon). A team to a row, which is read
// from memory once and from cache a second time.
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/team.cuh"

namespace annulus::cuda {
namespace {

// Of a row whose squares overflow, scaled such that they do not; beside them epsilon is nothing.
template <int kLanes, int kTeam, class T>
__device__ float rstd_of_huge(const T* x, int64_t C) {
  constexpr float kScale = 0x1p-100f;
  float sum_sq = 0.0f;
  for (int64_t c = team_lane<kTeam>() * kLanes; c < C; c += kTeam * kLanes) {
    const Lanes<kLanes> v = load<kLanes>(x + c);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) sum_sq += v[k] * kScale * (v[k] * kScale);
  }
  return 1.0f / sqrtf(team_sum<kTeam>(sum_sq) / static_cast<float>(C)) * kScale;
}

template <int kLanes, int kTeam, class T>
__global__ void __launch_bounds__(kThreads)
    rms_norm_forward_kernel(T* y_NC, float* rstd_N, const T* x_NC, const T* gain_C, int64_t N, int64_t C,
                            float epsilon) {
  const int64_t token = team_index<kTeam>();
  if (token >= N) return;
  const T* x = x_NC + token * C;
  T* y = y_NC + token * C;
  float sum_sq = 0.0f;
  for (int64_t c = team_lane<kTeam>() * kLanes; c < C; c += kTeam * kLanes) {
    const Lanes<kLanes> v = load<kLanes>(x + c);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) sum_sq += v[k] * v[k];
  }
  float rstd = 1.0f / sqrtf(team_sum<kTeam>(sum_sq) / static_cast<float>(C) + epsilon);
  if (rstd == 0.0f) rstd = rstd_of_huge<kLanes, kTeam>(x, C);  // from 1.8e19 on; y would be 0 without a word
  if (team_lane<kTeam>() == 0) rstd_N[token] = rstd;
  for (int64_t c = team_lane<kTeam>() * kLanes; c < C; c += kTeam * kLanes) {
    Lanes<kLanes> v = load<kLanes>(x + c);
    const Lanes<kLanes> gain = load<kLanes>(gain_C + c);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) v[k] = v[k] * rstd * gain[k];
    store(y + c, v);
  }
}

// With n = x * rstd: dx = rstd * (dy * gain - n * mean(dy * gain * n)) + residual. Where x is huge, rstd^3 underflows
// and sums over x itself overflow. dx may be dy or residual: a thread reads of them what it then writes.
template <int kLanes, int kTeam, class T>
__global__ void __launch_bounds__(kThreads)
    rms_norm_dx_kernel(T* dx_NC, const T* dy_NC, const T* x_NC, const float* rstd_N, const T* gain_C,
                       const T* residual_NC, int64_t N, int64_t C) {
  const int64_t token = team_index<kTeam>();
  if (token >= N) return;
  const int64_t row = token * C;
  const float rstd = rstd_N[token];
  float dot = 0.0f;
  for (int64_t c = team_lane<kTeam>() * kLanes; c < C; c += kTeam * kLanes) {
    const Lanes<kLanes> dy = load<kLanes>(dy_NC + row + c), x = load<kLanes>(x_NC + row + c);
    const Lanes<kLanes> gain = load<kLanes>(gain_C + c);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) dot += dy[k] * gain[k] * (x[k] * rstd);
  }
  const float pull = -team_sum<kTeam>(dot) / static_cast<float>(C) * rstd;
  for (int64_t c = team_lane<kTeam>() * kLanes; c < C; c += kTeam * kLanes) {
    const Lanes<kLanes> dy = load<kLanes>(dy_NC + row + c), gain = load<kLanes>(gain_C + c);
    const Lanes<kLanes> residual = load<kLanes>(residual_NC + row + c);
    Lanes<kLanes> x = load<kLanes>(x_NC + row + c);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) x[k] = fmaf(dy[k] * gain[k], rstd, x[k] * rstd * pull) + residual[k];
    store(dx_NC + row + c, x);
  }
}

constexpr int kColumnThreads = 128;

// sums[i] = the sum of dy * x * rstd over tokens kDeviceTokensPerNormSum * i and on: a thread takes kLanes columns, and
// the tokens in order.
template <int kLanes, class T>
__global__ void __launch_bounds__(kColumnThreads)
    rms_norm_gain_sums_kernel(float* sums, const T* dy_NC, const T* x_NC, const float* rstd_N, int64_t N, int64_t C) {
  __shared__ float rstd[kDeviceTokensPerNormSum];
  const int64_t begin = blockIdx.x * kDeviceTokensPerNormSum, left = N - begin;
  const int tokens = static_cast<int>(left < kDeviceTokensPerNormSum ? left : kDeviceTokensPerNormSum);
  if (threadIdx.x < tokens) rstd[threadIdx.x] = rstd_N[begin + threadIdx.x];
  __syncthreads();
  const int64_t c = (int64_t{blockIdx.y} * kColumnThreads + threadIdx.x) * kLanes;
  if (c >= C) return;
  Lanes<kLanes> sum = {};
#pragma unroll 4
  for (int t = 0; t < tokens; ++t) {
    const int64_t at = (begin + t) * C + c;
    const Lanes<kLanes> dy = load<kLanes>(dy_NC + at), x = load<kLanes>(x_NC + at);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) sum[k] = fmaf(dy[k], x[k] * rstd[t], sum[k]);
  }
  store(sums + blockIdx.x * C + c, sum);
}

constexpr int kStrands = 8;

// dgain += all rows of sums. A block takes kWarp columns; warp i adds up rows i, i + kStrands, ... in order.
__global__ void __launch_bounds__(kWarp* kStrands)
    rms_norm_add_sums_kernel(float* dgain_C, const float* sums, int64_t rows, int64_t C) {
  __shared__ float of_strand[kStrands][kWarp];
  const int64_t c = int64_t{blockIdx.x} * kWarp + threadIdx.x;
  float sum = 0.0f;
  if (c < C)
    for (int64_t row = threadIdx.y; row < rows; row += kStrands) sum += sums[row * C + c];
  of_strand[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= C) return;
  for (int strand = 1; strand < kStrands; ++strand) sum += of_strand[strand][threadIdx.x];
  dgain_C[c] += sum;
}

// How one launch does it: kernel<kLanes, kTeam> for these rows.
template <int kLanes, class T>
struct Kernels {
  static auto forward(int64_t C) {
    return C <= kLongestWarpRow ? rms_norm_forward_kernel<kLanes, kWarp, T>
                                : rms_norm_forward_kernel<kLanes, kThreads, T>;
  }
  static auto dx(int64_t C) {
    return C <= kLongestWarpRow ? rms_norm_dx_kernel<kLanes, kWarp, T> : rms_norm_dx_kernel<kLanes, kThreads, T>;
  }
};

unsigned blocks_for(int64_t N, int64_t C) {
  return C <= kLongestWarpRow ? team_blocks<kWarp>(N) : team_blocks<kThreads>(N);
}

}  // namespace

template <class T>
DeviceError rms_norm_forward(T* y, float* rstd, const T* x, const T* gain, int64_t N, int64_t C, float epsilon,
                             DeviceStream stream) {
  if (N == 0 || C == 0) return cudaSuccess;
  constexpr int kLanes = kLanesOf<T>;
  const auto kernel = in_words<kLanes>(C, y, x, gain) ? Kernels<kLanes, T>::forward(C) : Kernels<1, T>::forward(C);
  kernel<<<blocks_for(N, C), kThreads, 0, stream_of(stream)>>>(y, rstd, x, gain, N, C, epsilon);
  return launched();
}

// The gain's gradient first: dx may overwrite dy.
template <class T>
DeviceError rms_norm_backward(T* dx, float* dgain, const T* dy, const T* x, const float* rstd, const T* gain,
                              const T* residual, int64_t N, int64_t C, float* scratch, DeviceStream stream) {
  if (N == 0 || C == 0) return cudaSuccess;
  constexpr int kLanes = kLanesOf<T>;
  const bool words = in_words<kLanes>(C, dx, dy, x, gain, residual) && in_words<kLanes>(C, scratch);
  const int64_t sums = ceil_div(N, kDeviceTokensPerNormSum);
  const dim3 columns(static_cast<unsigned>(sums),
                     static_cast<unsigned>(ceil_div(C, kColumnThreads * (words ? kLanes : 1))));
  const auto sums_kernel = words ? rms_norm_gain_sums_kernel<kLanes, T> : rms_norm_gain_sums_kernel<1, T>;
  sums_kernel<<<columns, kColumnThreads, 0, stream_of(stream)>>>(scratch, dy, x, rstd, N, C);
  if (const DeviceError error = launched()) return error;
  rms_norm_add_sums_kernel<<<static_cast<unsigned>(ceil_div(C, kWarp)), dim3(kWarp, kStrands), 0, stream_of(stream)>>>(
      dgain, scratch, sums, C);
  if (const DeviceError error = launched()) return error;
  const auto kernel = words ? Kernels<kLanes, T>::dx(C) : Kernels<1, T>::dx(C);
  kernel<<<blocks_for(N, C), kThreads, 0, stream_of(stream)>>>(dx, dy, x, rstd, gain, residual, N, C);
  return launched();
}

template DeviceError rms_norm_forward(float*, float*, const float*, const float*, int64_t, int64_t, float,
                                      DeviceStream);
template DeviceError rms_norm_forward(Bf16*, float*, const Bf16*, const Bf16*, int64_t, int64_t, float, DeviceStream);
template DeviceError rms_norm_backward(float*, float*, const float*, const float*, const float*, const float*,
                                       const float*, int64_t, int64_t, float*, DeviceStream);
template DeviceError rms_norm_backward(Bf16*, float*, const Bf16*, const Bf16*, const float*, const Bf16*, const Bf16*,
                                       int64_t, int64_t, float*, DeviceStream);

}  // namespace annulus::cuda
