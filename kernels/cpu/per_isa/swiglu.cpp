// SwiGLU, arXiv:2002.05202: y = silu(gate) * up, silu(x) = x * sigmoid(x). A token's gate and up lie side by side.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/exp2.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr int64_t kTokensPerItem = 4;

[[gnu::always_inline]] inline Simd::Reg sigmoid(Simd::Reg x) {
  const Simd::Reg one = Simd::set1(1.0f);
  return Simd::div(one, Simd::add(one, exp(Simd::sub(Simd::zero(), x))));
}

}  // namespace

template <class T>
void swiglu_forward(T* y_NF, const T* gate_up_N2F, int64_t N, int64_t F) {
  parallel_for_chunks(N, kTokensPerItem, [&](int64_t token) {
    const T *gate = gate_up_N2F + token * 2 * F, *up = gate + F;
    T* y = y_NF + token * F;
    for_lanes(F, [&](int64_t f, int64_t count) ANNULUS_ALWAYS {
      const Simd::Reg g = load_first(gate + f, count);
      const Simd::Reg silu = Simd::mul(g, sigmoid(g));
      store_first(y + f, Simd::mul(silu, load_first(up + f, count)), count);
    });
  });
}

template <class T>
void swiglu_backward(T* dgate_up_N2F, const T* dy_NF, const T* gate_up_N2F, int64_t N, int64_t F) {
  parallel_for_chunks(N, kTokensPerItem, [&](int64_t token) {
    const T *gate = gate_up_N2F + token * 2 * F, *up = gate + F, *dy = dy_NF + token * F;
    T *dgate = dgate_up_N2F + token * 2 * F, *dup = dgate + F;
    const Simd::Reg one = Simd::set1(1.0f);
    for_lanes(F, [&](int64_t f, int64_t count) ANNULUS_ALWAYS {
      const Simd::Reg g = load_first(gate + f, count), u = load_first(up + f, count);
      const Simd::Reg d = load_first(dy + f, count), s = sigmoid(g);
      // d silu / dx = s * (1 + x * (1 - s))
      const Simd::Reg slope = Simd::mul(s, Simd::fma(g, Simd::sub(one, s), one));
      store_first(dgate + f, Simd::mul(Simd::mul(d, u), slope), count);
      store_first(dup + f, Simd::mul(d, Simd::mul(g, s)), count);
    });
  });
}

template void swiglu_forward(float*, const float*, int64_t, int64_t);
template void swiglu_forward(Bf16*, const Bf16*, int64_t, int64_t);
template void swiglu_backward(float*, const float*, const float*, int64_t, int64_t);
template void swiglu_backward(Bf16*, const Bf16*, const Bf16*, int64_t, int64_t);

}  // namespace annulus::cpu::ANNULUS_ISA
