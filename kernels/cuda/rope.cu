// Rotary positions, arXiv:2104.09864, half-split pairs (i, i + D/2), in place. sign = 1 forward, -1 backward: the
// gradient of a rotation is the rotation by the opposite angle.
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ops.h"

namespace annulus::cuda {
namespace {

// A piece is kLanes pairs of one head; blockIdx.z is the sequence.
template <int kLanes, class T>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(T* x, int64_t token_stride, const float* cosine, const float* sine, int64_t tokens, int heads, int half,
                float sign) {
  T* sequence = x + blockIdx.z * tokens * token_stride;
  const int pieces_of_head = half / kLanes;
  for_all_pieces(tokens, int64_t{heads} * pieces_of_head, [&](int64_t token, int64_t piece) {
    const int head = static_cast<int>(piece) / pieces_of_head, i = static_cast<int>(piece) % pieces_of_head * kLanes;
    T* first = sequence + token * token_stride + int64_t{head} * 2 * half + i;
    T* second = first + half;
    Lanes<kLanes> a = load<kLanes>(first), b = load<kLanes>(second);
    const Lanes<kLanes> c = load<kLanes>(cosine + token * half + i), s = load<kLanes>(sine + token * half + i);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) {
      const float turn = s[k] * sign, left = a[k], right = b[k];
      a[k] = left * c[k] - right * turn;
      b[k] = fmaf(left, turn, right * c[k]);
    }
    store(first, a);
    store(second, b);
  });
}

}  // namespace

template <class T>
DeviceError rope(T* x, int64_t token_stride, const float* cosine, const float* sine, int64_t N, int64_t tokens,
                 int64_t heads, int64_t D, float sign, DeviceStream stream) {
  const int64_t half = D / 2;
  if (N == 0 || heads * half == 0) return cudaSuccess;
  constexpr int kLanes = kLanesOfBoth;
  const bool words = in_words<kLanes>(token_stride, x) && in_words<kLanes>(half, x, cosine, sine);
  const Grid grid = grid_over(tokens, heads * half / (words ? kLanes : 1), N / tokens);
  const auto kernel = words ? rope_kernel<kLanes, T> : rope_kernel<1, T>;
  kernel<<<grid.blocks, grid.threads, 0, stream_of(stream)>>>(x, token_stride, cosine, sine, tokens,
                                                              static_cast<int>(heads), static_cast<int>(half), sign);
  return launched();
}

template DeviceError rope(float*, int64_t, const float*, const float*, int64_t, int64_t, int64_t, int64_t, float,
                          DeviceStream);
template DeviceError rope(Bf16*, int64_t, const float*, const float*, int64_t, int64_t, int64_t, int64_t, float,
                          DeviceStream);

}  // namespace annulus::cuda
