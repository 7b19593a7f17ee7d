#pragma once
// 2^x in single precision, without branches.
#include "kernels/cpu/per_isa/simd.h"

namespace annulus::cpu::ANNULUS_ISA {

constexpr double kLog2E = 1.4426950408889634;

/// x in units of log 2, rounded once.
[[gnu::always_inline]] inline float log2_units(float x) { return static_cast<float>(static_cast<double>(x) * kLog2E); }

/// 2^x for x <= 128, where it is infinite: relative error below 1e-7; exactly 1 at 0, and exactly 0 at and below -127
/// (also at -infinity). NaN stays NaN. x = n + f with n the nearest integer (adding 1.5 * 2^23 rounds; fast-math would
/// fold that away and is therefore forbidden), 2^f by a minimax polynomial of degree 6 on [-1/2, 1/2] whose constant is
/// 1, n by the exponent.
[[gnu::always_inline]] inline Simd::Reg exp2(Simd::Reg x) {
  x = Simd::max(Simd::set1(-127.0f), x);
  const Simd::Reg magic = Simd::set1(12582912.0f);
  const Simd::Reg n = Simd::add(x, magic);
  const Simd::Reg f = Simd::sub(x, Simd::sub(n, magic));
  Simd::Reg p = Simd::set1(1.535336196e-04f);
  p = Simd::fma(p, f, Simd::set1(1.339887502e-03f));
  p = Simd::fma(p, f, Simd::set1(9.618436918e-03f));
  p = Simd::fma(p, f, Simd::set1(5.550332367e-02f));
  p = Simd::fma(p, f, Simd::set1(2.402264774e-01f));
  p = Simd::fma(p, f, Simd::set1(6.931471825e-01f));
  p = Simd::fma(p, f, Simd::set1(1.0f));
  return Simd::scale_by_exponent(p, n);
}

/// The same to a relative error of 1.1e-4, for weights that are then rounded to bfloat16 (3.9e-3): degree 3.
[[gnu::always_inline]] inline Simd::Reg exp2_coarse(Simd::Reg x) {
  x = Simd::max(Simd::set1(-127.0f), x);
  const Simd::Reg magic = Simd::set1(12582912.0f);
  const Simd::Reg n = Simd::add(x, magic);
  const Simd::Reg f = Simd::sub(x, Simd::sub(n, magic));
  Simd::Reg p = Simd::set1(5.500893065e-02f);
  p = Simd::fma(p, f, Simd::set1(2.422109612e-01f));
  p = Simd::fma(p, f, Simd::set1(6.932829274e-01f));
  p = Simd::fma(p, f, Simd::set1(1.0f));
  return Simd::scale_by_exponent(p, n);
}

/// e^x for any x; infinite from 88.73 on.
[[gnu::always_inline]] inline Simd::Reg exp(Simd::Reg x) {
  return exp2(Simd::min(Simd::set1(128.0f), Simd::mul(x, Simd::set1(static_cast<float>(kLog2E)))));
}

}  // namespace annulus::cpu::ANNULUS_ISA
