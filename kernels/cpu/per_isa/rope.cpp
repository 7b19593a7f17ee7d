// Rotary positions, arXiv:2104.09864, half-split pairs (i, i + D/2), in place. sign = 1 forward, -1 backward: the
// gradient of a rotation is the rotation by the opposite angle.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {

void rope(float* x, int64_t token_stride, const float* cosine, const float* sine, int64_t N, int64_t T, int64_t heads,
          int64_t D, float sign) {
  const int64_t half = D / 2;
  const Simd::Reg direction = Simd::set1(sign);
  parallel_for(N, [&](int64_t token, int) {
    const float *cos_row = cosine + token % T * half, *sin_row = sine + token % T * half;
    for (int64_t head = 0; head < heads; ++head) {
      float *first = x + token * token_stride + head * D, *second = first + half;
      for_lanes(half, [&](int64_t i, int64_t count) ANNULUS_ALWAYS {
        const Simd::Reg a = Simd::load_first(first + i, count), b = Simd::load_first(second + i, count);
        const Simd::Reg c = Simd::load_first(cos_row + i, count);
        const Simd::Reg s = Simd::mul(Simd::load_first(sin_row + i, count), direction);
        Simd::store_first(first + i, Simd::sub(Simd::mul(a, c), Simd::mul(b, s)), count);
        Simd::store_first(second + i, Simd::fma(a, s, Simd::mul(b, c)), count);
      });
    }
  });
}

}  // namespace annulus::cpu::ANNULUS_ISA
