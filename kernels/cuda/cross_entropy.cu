// loss = log(sum_v exp(z_v)) - z_label; dlogits = (softmax(z) - onehot(label)) * gradient_scale, which may lie over the
// logits. A block to a token: one walk over the logits for the largest and the sum, one for the gradient.
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/team.cuh"

namespace annulus::cuda {
namespace {

constexpr float kLowest = -3.4028234663852886e38f;

// The largest logit, and the sum of exp(z - largest).
struct Softmax {
  float largest, sum;
};

// A thread takes the next kLanes logits, and brings its sum to their largest first where that is larger.
template <int kLanes>
__device__ Softmax softmax_of(const float* z, int64_t V) {
  Softmax mine = {kLowest, 0.0f};
  for (int64_t v = threadIdx.x * kLanes; v < V; v += kThreads * kLanes) {
    const Lanes<kLanes> logits = load<kLanes>(z + v);
    float largest = mine.largest;
#pragma unroll
    for (int k = 0; k < kLanes; ++k) largest = fmaxf(largest, logits[k]);
    mine.sum *= expf(mine.largest - largest);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) mine.sum += expf(logits[k] - largest);
    mine.largest = largest;
  }
  const float largest = team_max<kThreads>(mine.largest);
  return {largest, team_sum<kThreads>(mine.sum * expf(mine.largest - largest))};
}

template <int kLanes, class T>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_kernel(float* loss_N, T* dlogits_NV, const float* logits_NV, const int32_t* labels_N, int64_t V,
                         float gradient_scale) {
  const int64_t token = blockIdx.x;
  const int32_t label = labels_N[token];
  const float* z = logits_NV + token * V;
  T* dz = dlogits_NV ? dlogits_NV + token * V : nullptr;
  if (label < 0) {  // a token that predicts nothing
    if (threadIdx.x == 0) loss_N[token] = 0.0f;
    if (!dz) return;
    for (int64_t v = threadIdx.x * kLanes; v < V; v += kThreads * kLanes) store(dz + v, Lanes<kLanes>{});
    return;
  }
  const float z_label = z[label];  // before anybody writes over it: softmax_of() waits for all threads
  const Softmax softmax = softmax_of<kLanes>(z, V);
  if (threadIdx.x == 0) loss_N[token] = logf(softmax.sum) + (softmax.largest - z_label);
  if (!dz) return;
  const float scale = gradient_scale / softmax.sum;
  for (int64_t v = threadIdx.x * kLanes; v < V; v += kThreads * kLanes) {
    Lanes<kLanes> d = load<kLanes>(z + v);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) {
      d[k] = expf(d[k] - softmax.largest) * scale;
      if (v + k == label) d[k] -= gradient_scale;
    }
    store(dz + v, d);
  }
}

}  // namespace

template <class T>
DeviceError cross_entropy(float* loss, T* dlogits, const float* logits, const int32_t* labels, int64_t N, int64_t V,
                          float gradient_scale, DeviceStream stream) {
  if (N == 0) return cudaSuccess;
  constexpr int kLanes = kLanesOfBoth;
  const bool words = in_words<kLanes>(V, logits) && in_words<kLanes>(V, dlogits);
  const auto kernel = words ? cross_entropy_kernel<kLanes, T> : cross_entropy_kernel<1, T>;
  kernel<<<static_cast<unsigned>(N), kThreads, 0, stream_of(stream)>>>(loss, dlogits, logits, labels, V,
                                                                       gradient_scale);
  return launched();
}

template DeviceError cross_entropy(float*, float*, const float*, const int32_t*, int64_t, int64_t, float, DeviceStream);
template DeviceError cross_entropy(float*, Bf16*, const float*, const int32_t*, int64_t, int64_t, float, DeviceStream);

}  // namespace annulus::cuda
