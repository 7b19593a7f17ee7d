// loss = log(sum_v exp(z_v)) - z_label; dlogits = (softmax(z) - onehot(label)) * gradient_scale, over the logits.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/exp2.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr float kLowest = -3.4028234663852886e38f;

float largest_of(const float* z, int64_t V) {
  Simd::Reg largest = Simd::set1(kLowest);
  int64_t v = 0;
  for (; v + Simd::kLanes <= V; v += Simd::kLanes) largest = Simd::max(largest, Simd::load(z + v));
  float result = max_lanes(largest);
  for (; v < V; ++v) result = z[v] > result ? z[v] : result;
  return result;
}

}  // namespace

void cross_entropy(float* loss_N, float* logits_NV, const int32_t* labels_N, int64_t N, int64_t V, bool with_gradient,
                   float gradient_scale) {
  parallel_for(N, [&](int64_t token, int) {
    float* z = logits_NV + token * V;
    const int32_t label = labels_N[token];
    if (label < 0) {  // a token that predicts nothing
      loss_N[token] = 0.0f;
      if (with_gradient) for_lanes(V, [&](int64_t v, int64_t count) { Simd::store_first(z + v, Simd::zero(), count); });
      return;
    }
    const float largest = largest_of(z, V), z_label = z[label];
    const Simd::Reg shift = Simd::set1(largest);
    const float sum = sum_over(V, [&](int64_t v, int64_t count) ANNULUS_ALWAYS {
      const Simd::Reg e = exp(Simd::sub(Simd::load_first(z + v, count), shift));
      return Simd::select(Simd::lanes_between(0, count), e, Simd::zero());
    });
    loss_N[token] = __builtin_logf(sum) + (largest - z_label);
    if (!with_gradient) return;
    const Simd::Reg scale = Simd::set1(gradient_scale / sum);
    for_lanes(V, [&](int64_t v, int64_t count) ANNULUS_ALWAYS {
      const Simd::Reg e = exp(Simd::sub(Simd::load_first(z + v, count), shift));
      Simd::store_first(z + v, Simd::mul(e, scale), count);
    });
    z[label] -= gradient_scale;
  });
}

}  // namespace annulus::cpu::ANNULUS_ISA
