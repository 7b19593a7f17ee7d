// AdamW, arXiv:1711.05101: decoupled weight decay, bias-corrected moments, one pass over memory.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {

void adamw(float* master, Bf16* weight, float* m, float* v, const float* gradient, int64_t n, const AdamwStep& step) {
  constexpr int64_t kFloatsPerItem = int64_t{1} << 14;
  const Simd::Reg beta1 = Simd::set1(step.beta1), rest1 = Simd::set1(1.0f - step.beta1);
  const Simd::Reg beta2 = Simd::set1(step.beta2), rest2 = Simd::set1(1.0f - step.beta2);
  const Simd::Reg correct1 = Simd::set1(step.correction1), correct2 = Simd::set1(step.correction2);
  const Simd::Reg rate = Simd::set1(-step.learning_rate), epsilon = Simd::set1(step.epsilon);
  const Simd::Reg keep = Simd::set1(1.0f - step.learning_rate * step.weight_decay);
  const Simd::Reg scale = Simd::set1(step.gradient_scale);
  parallel_for((n + kFloatsPerItem - 1) / kFloatsPerItem, [&](int64_t item, int) {
    const int64_t first = item * kFloatsPerItem, left = n - first;
    for_lanes(left < kFloatsPerItem ? left : kFloatsPerItem, [&](int64_t i, int64_t count) ANNULUS_ALWAYS {
      const int64_t at = first + i;
      const Simd::Reg g = Simd::mul(Simd::load_first(gradient + at, count), scale);
      const Simd::Reg m_new = Simd::fma(beta1, Simd::load_first(m + at, count), Simd::mul(rest1, g));
      const Simd::Reg v_new = Simd::fma(beta2, Simd::load_first(v + at, count), Simd::mul(rest2, Simd::mul(g, g)));
      const Simd::Reg root = Simd::add(Simd::sqrt(Simd::mul(v_new, correct2)), epsilon);
      const Simd::Reg move = Simd::div(Simd::mul(m_new, correct1), root);
      const Simd::Reg w = Simd::fma(rate, move, Simd::mul(Simd::load_first(master + at, count), keep));
      Simd::store_first(m + at, m_new, count);
      Simd::store_first(v + at, v_new, count);
      Simd::store_first(master + at, w, count);
      if (weight) Simd::store_bf16_first(weight + at, w, count);
    });
  });
}

}  // namespace annulus::cpu::ANNULUS_ISA
