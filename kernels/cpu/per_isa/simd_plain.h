#pragma once
// Four floats by the compiler's portable vectors: every CPU. One of three Simd types with the same members.
#include <cstdint>
#include <cstring>

#include "runtime/core/bf16.h"

namespace annulus::cpu::ANNULUS_ISA {

struct Simd {
  typedef float Reg __attribute__((vector_size(16)));
  typedef int32_t Lanes __attribute__((vector_size(16)));  // all bits of a lane set: chosen
  static constexpr int kLanes = 4;
  static constexpr int kRowsPerTile = 4, kRegsPerTile = 2;  // the micro-kernel's accumulators (micro_kernel.h)
  static constexpr int kProductRows = kRowsPerTile, kProductRegs = kRegsPerTile;  // of matrix products
  static constexpr int kQueryBlock = 64;

  ANNULUS_INLINE Reg load(const float* p) {
    Reg r;
    std::memcpy(&r, p, sizeof r);
    return r;
  }
  ANNULUS_INLINE void store(float* p, Reg r) { std::memcpy(p, &r, sizeof r); }
  ANNULUS_INLINE Reg set1(float x) { return Reg{x, x, x, x}; }
  ANNULUS_INLINE Reg zero() { return Reg{}; }
  ANNULUS_INLINE Reg add(Reg a, Reg b) { return a + b; }
  ANNULUS_INLINE Reg sub(Reg a, Reg b) { return a - b; }
  ANNULUS_INLINE Reg mul(Reg a, Reg b) { return a * b; }
  ANNULUS_INLINE Reg div(Reg a, Reg b) { return a / b; }
  ANNULUS_INLINE Reg fma(Reg a, Reg b, Reg c) { return a * b + c; }
  ANNULUS_INLINE Reg sqrt(Reg a) {
    for (int i = 0; i < kLanes; ++i) a[i] = __builtin_sqrtf(a[i]);
    return a;
  }
  /// b where either is NaN, like the x86 instruction.
  ANNULUS_INLINE Reg max(Reg a, Reg b) { return a > b ? a : b; }
  ANNULUS_INLINE Reg min(Reg a, Reg b) { return a < b ? a : b; }
  ANNULUS_INLINE Lanes greater(Reg a, Reg b) { return a > b; }
  ANNULUS_INLINE bool any(Lanes m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
  ANNULUS_INLINE Reg select(Lanes m, Reg yes, Reg no) { return m ? yes : no; }
  /// Lanes begin..end-1; begin and end may lie outside the register.
  ANNULUS_INLINE Lanes lanes_between(int64_t begin, int64_t end) {
    const int32_t b = begin < 0 ? 0 : begin > kLanes ? kLanes : static_cast<int32_t>(begin);
    const int32_t e = end < 0 ? 0 : end > kLanes ? kLanes : static_cast<int32_t>(end);
    const Lanes iota = {0, 1, 2, 3};
    return (iota >= b) & (iota < e);
  }
  ANNULUS_INLINE Reg load_first(const float* p, int64_t n) {
    Reg r = {};
    for (int i = 0; i < kLanes; ++i)
      if (i < n) r[i] = p[i];
    return r;
  }
  ANNULUS_INLINE void store_first(float* p, Reg r, int64_t n) {
    for (int i = 0; i < kLanes; ++i)
      if (i < n) p[i] = r[i];
  }
  /// Between bfloat16 in memory and floats in lanes. Stores round to nearest, ties to even, and keep NaN.
  ANNULUS_INLINE Reg load_bf16(const Bf16* p) { return load_bf16_first(p, kLanes); }
  ANNULUS_INLINE void store_bf16(Bf16* p, Reg r) { store_bf16_first(p, r, kLanes); }
  ANNULUS_INLINE Reg load_bf16_first(const Bf16* p, int64_t n) {
    Reg r = {};
    for (int i = 0; i < kLanes; ++i)
      if (i < n) r[i] = p[i].to_float();
    return r;
  }
  ANNULUS_INLINE void store_bf16_first(Bf16* p, Reg r, int64_t n) {
    for (int i = 0; i < kLanes; ++i)
      if (i < n) p[i] = Bf16::from(r[i]);
  }
  /// x * 2^n, where `magic_sum` is n + 1.5 * 2^23 (exp2.h): adds n to the exponent bits.
  ANNULUS_INLINE Reg scale_by_exponent(Reg x, Reg magic_sum) {
    typedef uint32_t Bits __attribute__((vector_size(16)));
    Bits bits, shift;
    std::memcpy(&bits, &x, sizeof bits);
    std::memcpy(&shift, &magic_sum, sizeof shift);
    bits += shift << 23;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
  ANNULUS_INLINE void transpose(Reg (&r)[kLanes]) {
    for (int i = 0; i < kLanes; ++i)
      for (int j = 0; j < i; ++j) {
        const float t = r[i][j];
        r[i][j] = r[j][i];
        r[j][i] = t;
      }
  }
};

}  // namespace annulus::cpu::ANNULUS_ISA
