// AdamW, arXiv:1711.05101: decoupled weight decay, bias-corrected moments, one pass over memory.
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ops.h"

namespace annulus::cuda {
namespace {

template <int kLanes>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(float* master, Bf16* weight, float* m, float* v, const float* gradient, int64_t n, AdamwStep step) {
  const float keep = 1.0f - step.learning_rate * step.weight_decay;
  for_all_pieces(1, ceil_div(n, kLanes), [&](int64_t, int64_t piece) {
    const int64_t at = piece * kLanes, count = n - at;
    const Lanes<kLanes> g = load_first<kLanes>(gradient + at, count);
    Lanes<kLanes> w = load_first<kLanes>(master + at, count);
    Lanes<kLanes> mean = load_first<kLanes>(m + at, count), square = load_first<kLanes>(v + at, count);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) {
      const float scaled = g[k] * step.gradient_scale;
      mean[k] = fmaf(step.beta1, mean[k], (1.0f - step.beta1) * scaled);
      square[k] = fmaf(step.beta2, square[k], (1.0f - step.beta2) * (scaled * scaled));
      const float root = sqrtf(square[k] * step.correction2) + step.epsilon;
      w[k] = fmaf(-step.learning_rate, mean[k] * step.correction1 / root, w[k] * keep);
    }
    store_first(m + at, mean, count);
    store_first(v + at, square, count);
    store_first(master + at, w, count);
    if (weight) store_first(weight + at, w, count);
  });
}

}  // namespace

DeviceError adamw(float* master, Bf16* weight, float* m, float* v, const float* gradient, int64_t n,
                  const AdamwStep* step, DeviceStream stream) {
  if (n == 0) return cudaSuccess;
  constexpr int kLanes = kLanesOfBoth;
  const bool words = in_words<kLanes>(0, master, weight, m, v, gradient);
  const Grid grid = grid_over(1, ceil_div(n, words ? kLanes : 1));
  const auto kernel = words ? adamw_kernel<kLanes> : adamw_kernel<1>;
  kernel<<<grid.blocks, grid.threads, 0, stream_of(stream)>>>(master, weight, m, v, gradient, n, *step);
  return launched();
}

}  // namespace annulus::cuda
