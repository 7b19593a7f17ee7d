// SwiGLU, arXiv:2002.05202: y = silu(gate) * up, silu(x) = x * sigmoid(x). A token's gate and up lie side by side.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/exp2.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

[[gnu::always_inline]] inline Simd::Reg sigmoid(Simd::Reg x) {
  const Simd::Reg one = Simd::set1(1.0f);
  return Simd::div(one, Simd::add(one, exp(Simd::sub(Simd::zero(), x))));
}

}  // namespace

void swiglu_forward(float* y_NF, const float* gate_up_N2F, int64_t N, int64_t F) {
  parallel_for(N, [&](int64_t token, int) {
    const float *gate = gate_up_N2F + token * 2 * F, *up = gate + F;
    float* y = y_NF + token * F;
    for_lanes(F, [&](int64_t f, int64_t count) ANNULUS_ALWAYS {
      const Simd::Reg g = Simd::load_first(gate + f, count);
      const Simd::Reg silu = Simd::mul(g, sigmoid(g));
      Simd::store_first(y + f, Simd::mul(silu, Simd::load_first(up + f, count)), count);
    });
  });
}

void swiglu_backward(float* dgate_up_N2F, const float* dy_NF, const float* gate_up_N2F, int64_t N, int64_t F) {
  parallel_for(N, [&](int64_t token, int) {
    const float *gate = gate_up_N2F + token * 2 * F, *up = gate + F, *dy = dy_NF + token * F;
    float *dgate = dgate_up_N2F + token * 2 * F, *dup = dgate + F;
    const Simd::Reg one = Simd::set1(1.0f);
    for_lanes(F, [&](int64_t f, int64_t count) ANNULUS_ALWAYS {
      const Simd::Reg g = Simd::load_first(gate + f, count), u = Simd::load_first(up + f, count);
      const Simd::Reg d = Simd::load_first(dy + f, count), s = sigmoid(g);
      // d silu / dx = s * (1 + x * (1 - s))
      const Simd::Reg slope = Simd::mul(s, Simd::fma(g, Simd::sub(one, s), one));
      Simd::store_first(dgate + f, Simd::mul(Simd::mul(d, u), slope), count);
      Simd::store_first(dup + f, Simd::mul(d, Simd::mul(g, s)), count);
    });
  });
}

}  // namespace annulus::cpu::ANNULUS_ISA
