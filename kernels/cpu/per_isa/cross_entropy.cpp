// loss = log(sum_v exp(z_v)) - z_label; dlogits = (softmax(z) - onehot(label)) * gradient_scale, which may lie over the
// logits.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/exp2.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr float kLowest = -3.4028234663852886e38f;
constexpr int64_t kTokensPerItem = 4;

float largest_of(const float* z, int64_t V) {
  Simd::Reg largest = Simd::set1(kLowest);
  int64_t v = 0;
  for (; v + Simd::kLanes <= V; v += Simd::kLanes) largest = Simd::max(largest, Simd::load(z + v));
  float result = max_lanes(largest);
  for (; v < V; ++v) result = z[v] > result ? z[v] : result;
  return result;
}

}  // namespace

template <class T>
void cross_entropy(float* loss_N, T* dlogits_NV, const float* logits_NV, const int32_t* labels_N, int64_t N, int64_t V,
                   float gradient_scale) {
  // Gradients in f32 hold the exponentials until their sum is known; bf16 would round them twice, and computes them
  // anew.
  constexpr bool kKeepsExponentials = sizeof(T) == sizeof(float);
  parallel_for_chunks(N, kTokensPerItem, [&](int64_t token) {
    const float* z = logits_NV + token * V;
    T* dz = dlogits_NV ? dlogits_NV + token * V : nullptr;
    const int32_t label = labels_N[token];
    if (label < 0) {  // a token that predicts nothing
      loss_N[token] = 0.0f;
      if (dz) for_lanes(V, [&](int64_t v, int64_t count) { store_first(dz + v, Simd::zero(), count); });
      return;
    }
    const float largest = largest_of(z, V), z_label = z[label];
    const Simd::Reg shift = Simd::set1(largest);
    const float sum = sum_over(V, [&](int64_t v, int64_t count) ANNULUS_ALWAYS {
      const Simd::Reg e = exp(Simd::sub(load_first(z + v, count), shift));
      if (kKeepsExponentials && dz) store_first(dz + v, e, count);
      return Simd::select(Simd::lanes_between(0, count), e, Simd::zero());
    });
    loss_N[token] = __builtin_logf(sum) + (largest - z_label);
    if (!dz) return;
    const Simd::Reg scale = Simd::set1(gradient_scale / sum);
    auto scaled_weight = [&](Simd::Reg logit) ANNULUS_ALWAYS { return Simd::mul(exp(Simd::sub(logit, shift)), scale); };
    const float* next = token + 1 < N ? z + V : z;  // meanwhile, memory is free
    for_lanes(V, [&](int64_t v, int64_t count) ANNULUS_ALWAYS {
      __builtin_prefetch(next + v, 0, 2);
      if constexpr (kKeepsExponentials)
        store_first(dz + v, Simd::mul(load_first(dz + v, count), scale), count);
      else
        store_first(dz + v, scaled_weight(load_first(z + v, count)), count);
    });
    // Once more for the label, from floats: bf16 is rounded once.
    store_first(dz + label, Simd::sub(scaled_weight(Simd::set1(z_label)), Simd::set1(gradient_scale)), 1);
  });
}

template void cross_entropy(float*, float*, const float*, const int32_t*, int64_t, int64_t, float);
template void cross_entropy(float*, Bf16*, const float*, const int32_t*, int64_t, int64_t, float);

}  // namespace annulus::cpu::ANNULUS_ISA
