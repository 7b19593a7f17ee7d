// Rotary positions, arXiv:2104.09864, half-split pairs (i, i + D/2), in place. sign = 1 forward, -1 backward: the
// gradient of a rotation is the rotation by the opposite angle.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {

template <class T>
void rope(T* x, int64_t token_stride, const float* cosine, const float* sine, int64_t N, int64_t tokens, int64_t heads,
          int64_t D, float sign) {
  constexpr int64_t kTokensPerItem = 16;
  const int64_t half = D / 2;
  const Simd::Reg direction = Simd::set1(sign);
  parallel_for_chunks(N, kTokensPerItem, [&](int64_t token) {
    const float *cos_row = cosine + token % tokens * half, *sin_row = sine + token % tokens * half;
    for (int64_t head = 0; head < heads; ++head) {
      T *first = x + token * token_stride + head * D, *second = first + half;
      for_lanes(half, [&](int64_t i, int64_t count) ANNULUS_ALWAYS {
        const Simd::Reg a = load_first(first + i, count), b = load_first(second + i, count);
        const Simd::Reg c = load_first(cos_row + i, count);
        const Simd::Reg s = Simd::mul(load_first(sin_row + i, count), direction);
        store_first(first + i, Simd::sub(Simd::mul(a, c), Simd::mul(b, s)), count);
        store_first(second + i, Simd::fma(a, s, Simd::mul(b, c)), count);
      });
    }
  });
}

template void rope(float*, int64_t, const float*, const float*, int64_t, int64_t, int64_t, int64_t, float);
template void rope(Bf16*, int64_t, const float*, const float*, int64_t, int64_t, int64_t, int64_t, float);

}  // namespace annulus::cpu::ANNULUS_ISA
