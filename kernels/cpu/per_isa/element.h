#pragma once
// Kernels that are templates over their element type T, float or Bf16, read and write it by these and compute in
// floats.
#include "kernels/cpu/per_isa/simd.h"

namespace annulus::cpu::ANNULUS_ISA {

/// The first n lanes, n > 0; the others are 0, or not written.
[[gnu::always_inline]] inline Simd::Reg load_first(const float* p, int64_t n) { return Simd::load_first(p, n); }
[[gnu::always_inline]] inline Simd::Reg load_first(const Bf16* p, int64_t n) { return Simd::load_bf16_first(p, n); }
[[gnu::always_inline]] inline void store_first(float* p, Simd::Reg r, int64_t n) { Simd::store_first(p, r, n); }
[[gnu::always_inline]] inline void store_first(Bf16* p, Simd::Reg r, int64_t n) { Simd::store_bf16_first(p, r, n); }

[[gnu::always_inline]] inline float to_float(float x) { return x; }
[[gnu::always_inline]] inline float to_float(Bf16 x) { return x.to_float(); }

}  // namespace annulus::cpu::ANNULUS_ISA
