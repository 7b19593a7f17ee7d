#pragma once
// Sixteen floats, AVX-512 (F, BW, DQ, VL). One of three Simd types with the same members (simd_plain.h explains them).
#include <immintrin.h>

#include <cstdint>

#include "runtime/core/bf16.h"

namespace annulus::cpu::ANNULUS_ISA {

struct Simd {
  using Reg = __m512;
  using Lanes = __mmask16;
  static constexpr int kLanes = 16;
  static constexpr int kRowsPerTile = 8, kRegsPerTile = 2;  // 16 accumulators + 2 + 1 of 32 registers
  static constexpr int kProductRows = 6, kProductRegs = 4;  // of matrix products: 24 accumulators + 4 + 1
  static constexpr int kQueryBlock = 64;

  ANNULUS_INLINE Reg load(const float* p) { return _mm512_loadu_ps(p); }
  ANNULUS_INLINE void store(float* p, Reg r) { _mm512_storeu_ps(p, r); }
  ANNULUS_INLINE Reg set1(float x) { return _mm512_set1_ps(x); }
  ANNULUS_INLINE Reg zero() { return _mm512_setzero_ps(); }
  ANNULUS_INLINE Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  ANNULUS_INLINE Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  ANNULUS_INLINE Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  ANNULUS_INLINE Reg div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  ANNULUS_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  ANNULUS_INLINE Reg sqrt(Reg a) { return _mm512_sqrt_ps(a); }
  ANNULUS_INLINE Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }
  ANNULUS_INLINE Reg min(Reg a, Reg b) { return _mm512_min_ps(a, b); }
  ANNULUS_INLINE Lanes greater(Reg a, Reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  ANNULUS_INLINE bool any(Lanes m) { return m != 0; }
  ANNULUS_INLINE Reg select(Lanes m, Reg yes, Reg no) { return _mm512_mask_mov_ps(no, m, yes); }
  ANNULUS_INLINE Lanes lanes_between(int64_t begin, int64_t end) {
    const int b = begin < 0 ? 0 : begin > kLanes ? kLanes : static_cast<int>(begin);
    const int e = end < 0 ? 0 : end > kLanes ? kLanes : static_cast<int>(end);
    return static_cast<Lanes>(((1u << e) - 1) & ~((1u << b) - 1));
  }
  ANNULUS_INLINE Reg load_first(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(lanes_between(0, n), p); }
  ANNULUS_INLINE void store_first(float* p, Reg r, int64_t n) { _mm512_mask_storeu_ps(p, lanes_between(0, n), r); }
  ANNULUS_INLINE Reg widen(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  ANNULUS_INLINE __m256i narrow(Reg r) {
#if defined(__AVX512BF16__)
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(r));  // takes numbers below 2^-126 for 0
#else
    const __m512i bits = _mm512_castps_si512(r), upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(r, r, _CMP_UNORD_Q);
    const __m512i rounded = _mm512_mask_or_epi32(_mm512_srli_epi32(sum, 16), nan, upper, _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(rounded);
#endif
  }
  ANNULUS_INLINE Reg load_bf16(const Bf16* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  ANNULUS_INLINE void store_bf16(Bf16* p, Reg r) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(r)); }
  ANNULUS_INLINE Reg load_bf16_first(const Bf16* p, int64_t n) {
    return widen(_mm256_maskz_loadu_epi16(lanes_between(0, n), p));
  }
  ANNULUS_INLINE void store_bf16_first(Bf16* p, Reg r, int64_t n) {
    _mm256_mask_storeu_epi16(p, lanes_between(0, n), narrow(r));
  }
  ANNULUS_INLINE Reg scale_by_exponent(Reg x, Reg magic_sum) {
    const __m512i shift = _mm512_slli_epi32(_mm512_castps_si512(magic_sum), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), shift));
  }
  ANNULUS_INLINE void transpose(Reg (&r)[kLanes]) {
    Reg t[16];
    for (int i = 0; i < 16; i += 2) {  // pairs of lanes
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {  // 4 x 4 inside each 128-bit part
      r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
      r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; ++i) {  // 128-bit parts of rows 0..7 and 8..15
      t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
      t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xDD);
      t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
      t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xDD);
    }
    for (int i = 0; i < 4; ++i) {
      r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
      r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xDD);
      r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
      r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xDD);
    }
  }
};

}  // namespace annulus::cpu::ANNULUS_ISA
