// SwiGLU, arXiv:2002.05202: y = silu(gate) * up, silu(x) = x * sigmoid(x). A token's gate and up lie side by side.
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ops.h"

namespace annulus::cuda {
namespace {

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <int kLanes, class T>
__global__ void __launch_bounds__(kThreads) swiglu_forward_kernel(T* y_NF, const T* gate_up_N2F, int64_t N, int64_t F) {
  for_all_pieces(N, F / kLanes, [&](int64_t token, int64_t piece) {
    const T* gate = gate_up_N2F + token * 2 * F + piece * kLanes;
    Lanes<kLanes> y = load<kLanes>(gate);
    const Lanes<kLanes> up = load<kLanes>(gate + F);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) y[k] = y[k] * sigmoid(y[k]) * up[k];
    store(y_NF + token * F + piece * kLanes, y);
  });
}

template <int kLanes, class T>
__global__ void __launch_bounds__(kThreads)
    swiglu_backward_kernel(T* dgate_up_N2F, const T* dy_NF, const T* gate_up_N2F, int64_t N, int64_t F) {
  for_all_pieces(N, F / kLanes, [&](int64_t token, int64_t piece) {
    const int64_t gate = token * 2 * F + piece * kLanes;
    Lanes<kLanes> g = load<kLanes>(gate_up_N2F + gate), u = load<kLanes>(gate_up_N2F + gate + F);
    const Lanes<kLanes> dy = load<kLanes>(dy_NF + token * F + piece * kLanes);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) {
      const float s = sigmoid(g[k]), silu = g[k] * s;
      const float slope = s * fmaf(g[k], 1.0f - s, 1.0f);  // d silu / dx = s * (1 + x * (1 - s))
      g[k] = dy[k] * u[k] * slope;
      u[k] = dy[k] * silu;
    }
    store(dgate_up_N2F + gate, g);
    store(dgate_up_N2F + gate + F, u);
  });
}

}  // namespace

template <class T>
DeviceError swiglu_forward(T* y, const T* gate_up, int64_t N, int64_t F, DeviceStream stream) {
  if (N == 0 || F == 0) return cudaSuccess;
  constexpr int kLanes = kLanesOf<T>;
  const bool words = in_words<kLanes>(F, y, gate_up);
  const Grid grid = grid_over(N, F / (words ? kLanes : 1));
  const auto kernel = words ? swiglu_forward_kernel<kLanes, T> : swiglu_forward_kernel<1, T>;
  kernel<<<grid.blocks, grid.threads, 0, stream_of(stream)>>>(y, gate_up, N, F);
  return launched();
}

template <class T>
DeviceError swiglu_backward(T* dgate_up, const T* dy, const T* gate_up, int64_t N, int64_t F, DeviceStream stream) {
  if (N == 0 || F == 0) return cudaSuccess;
  constexpr int kLanes = kLanesOf<T>;
  const bool words = in_words<kLanes>(F, dgate_up, dy, gate_up);
  const Grid grid = grid_over(N, F / (words ? kLanes : 1));
  const auto kernel = words ? swiglu_backward_kernel<kLanes, T> : swiglu_backward_kernel<1, T>;
  kernel<<<grid.blocks, grid.threads, 0, stream_of(stream)>>>(dgate_up, dy, gate_up, N, F);
  return launched();
}

template DeviceError swiglu_forward(float*, const float*, int64_t, int64_t, DeviceStream);
template DeviceError swiglu_forward(Bf16*, const Bf16*, int64_t, int64_t, DeviceStream);
template DeviceError swiglu_backward(float*, const float*, const float*, int64_t, int64_t, DeviceStream);
template DeviceError swiglu_backward(Bf16*, const Bf16*, const Bf16*, int64_t, int64_t, DeviceStream);

}  // namespace annulus::cuda
