#pragma once
// Eight floats, AVX2 and FMA. One of three Simd types with the same members (simd_plain.h says what they mean).
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "runtime/core/bf16.h"

namespace annulus::cpu::ANNULUS_ISA {

struct Simd {
  using Reg = __m256;
  using Lanes = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kRowsPerTile = 4, kRegsPerTile = 3;  // 12 accumulators + 3 + 1 of 16 registers
  static constexpr int kProductRows = kRowsPerTile, kProductRegs = kRegsPerTile;  // of matrix products
  static constexpr int kQueryBlock = 48;

  ANNULUS_INLINE Reg load(const float* p) { return _mm256_loadu_ps(p); }
  ANNULUS_INLINE void store(float* p, Reg r) { _mm256_storeu_ps(p, r); }
  ANNULUS_INLINE Reg set1(float x) { return _mm256_set1_ps(x); }
  ANNULUS_INLINE Reg zero() { return _mm256_setzero_ps(); }
  ANNULUS_INLINE Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  ANNULUS_INLINE Reg sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  ANNULUS_INLINE Reg mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  ANNULUS_INLINE Reg div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
  ANNULUS_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  ANNULUS_INLINE Reg sqrt(Reg a) { return _mm256_sqrt_ps(a); }
  ANNULUS_INLINE Reg max(Reg a, Reg b) { return _mm256_max_ps(a, b); }
  ANNULUS_INLINE Reg min(Reg a, Reg b) { return _mm256_min_ps(a, b); }
  ANNULUS_INLINE Lanes greater(Reg a, Reg b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
  ANNULUS_INLINE bool any(Lanes m) { return _mm256_movemask_ps(m) != 0; }
  ANNULUS_INLINE Reg select(Lanes m, Reg yes, Reg no) { return _mm256_blendv_ps(no, yes, m); }
  ANNULUS_INLINE Lanes lanes_between(int64_t begin, int64_t end) {
    const int b = begin < 0 ? 0 : begin > kLanes ? kLanes : static_cast<int>(begin);
    const int e = end < 0 ? 0 : end > kLanes ? kLanes : static_cast<int>(end);
    const __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i below_end = _mm256_cmpgt_epi32(_mm256_set1_epi32(e), iota);
    const __m256i below_begin = _mm256_cmpgt_epi32(_mm256_set1_epi32(b), iota);
    return _mm256_castsi256_ps(_mm256_andnot_si256(below_begin, below_end));
  }
  ANNULUS_INLINE Reg load_first(const float* p, int64_t n) {
    return n >= kLanes ? load(p) : _mm256_maskload_ps(p, _mm256_castps_si256(lanes_between(0, n)));
  }
  ANNULUS_INLINE void store_first(float* p, Reg r, int64_t n) {
    if (n >= kLanes) return store(p, r);
    _mm256_maskstore_ps(p, _mm256_castps_si256(lanes_between(0, n)), r);
  }
  ANNULUS_INLINE Reg widen(__m128i bits) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  ANNULUS_INLINE __m128i narrow(Reg r) {
    const __m256i bits = _mm256_castps_si256(r), upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(r, r, _CMP_UNORD_Q));
    const __m256i rounded = _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet, nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  }
  ANNULUS_INLINE Reg load_bf16(const Bf16* p) { return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  ANNULUS_INLINE void store_bf16(Bf16* p, Reg r) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(r)); }
  ANNULUS_INLINE Reg load_bf16_first(const Bf16* p, int64_t n) {
    if (n >= kLanes) return load_bf16(p);
    __m128i bits = _mm_setzero_si128();
    for (int i = 0; i < n; ++i) std::memcpy(reinterpret_cast<char*>(&bits) + 2 * i, p + i, 2);
    return widen(bits);
  }
  ANNULUS_INLINE void store_bf16_first(Bf16* p, Reg r, int64_t n) {
    if (n >= kLanes) return store_bf16(p, r);
    const __m128i bits = narrow(r);
    for (int i = 0; i < n; ++i) std::memcpy(p + i, reinterpret_cast<const char*>(&bits) + 2 * i, 2);
  }
  ANNULUS_INLINE Reg scale_by_exponent(Reg x, Reg magic_sum) {
    const __m256i shift = _mm256_slli_epi32(_mm256_castps_si256(magic_sum), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), shift));
  }
  ANNULUS_INLINE void transpose(Reg (&r)[kLanes]) {
    Reg t[8];
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
      r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; ++i) {
      t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
      t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; ++i) r[i] = t[i];
  }
};

}  // namespace annulus::cpu::ANNULUS_ISA
