#pragma once
// What the products of the attention kernels multiply: floats one by one, or bfloat16 in pairs where the CPU has an
// instruction for that. A *word* is 32 bits, what is broadcast or lies in one lane: a float, or two bfloat16 that are
// neighbours along the sum. Tensors of bfloat16 are widened to floats where there is no such instruction.
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/exp2.h"
#include "kernels/cpu/per_isa/simd.h"
#include "runtime/core/bf16.h"

namespace annulus::cpu::ANNULUS_ISA {

struct Floats {
  using Word = float;
  static constexpr int kPerWord = 1;
  // Queries are multiplied by the softmax scale when they are packed, in units of log 2: scores need nothing more.
  static constexpr bool kScaleScores = false;
  ANNULUS_INLINE Simd::Reg load(const Word* p) { return Simd::load(p); }
  ANNULUS_INLINE Simd::Reg broadcast(const Word* p) { return Simd::set1(*p); }
  ANNULUS_INLINE Simd::Reg multiply_add(Simd::Reg a, Simd::Reg b, Simd::Reg c) { return Simd::fma(a, b, c); }
  ANNULUS_INLINE Simd::Reg power_of_two(Simd::Reg x) { return exp2(x); }
  ANNULUS_INLINE void store(Word* p, Simd::Reg words) { Simd::store(p, words); }
  /// The first n elements of a row of memory as words along it; zeros behind them. (bf16 is widened.)
  template <class T>
  ANNULUS_INLINE Simd::Reg words_of_row(const T* row, int64_t n) {
    return load_first(row, n);
  }
  /// The words that the first n elements of neighbouring rows make; `last` of them is null where it is missing.
  template <class T>
  ANNULUS_INLINE Simd::Reg words_of_rows(const T* row, const T*, int64_t n) {
    return load_first(row, n);
  }
};

#if defined(__AVX512BF16__)
struct Bf16Pairs {
  typedef uint32_t Word __attribute__((may_alias));
  static constexpr int kPerWord = 2;
  // Queries stay as they are: scaled, they would be rounded to bfloat16 once more.
  static constexpr bool kScaleScores = true;
  ANNULUS_INLINE Simd::Reg load(const Word* p) { return _mm512_loadu_ps(p); }
  ANNULUS_INLINE Simd::Reg broadcast(const Word* p) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(*p)));
  }
  ANNULUS_INLINE Simd::Reg multiply_add(Simd::Reg a, Simd::Reg b, Simd::Reg c) {
    return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  ANNULUS_INLINE Simd::Reg power_of_two(Simd::Reg x) { return exp2_coarse(x); }
  /// Each lane: `first` below, `second` above, both rounded to nearest (ties away from zero). Of all ways to round and
  /// pair, the one whose instructions leave the multipliers alone.
  ANNULUS_INLINE Simd::Reg pair(Simd::Reg first, Simd::Reg second) {
    const __m512i half = _mm512_set1_epi32(0x8000);
    const __m512i low = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(first), half), 16);
    const __m512i high = _mm512_add_epi32(_mm512_castps_si512(second), half);
    return _mm512_castsi512_ps(_mm512_mask_blend_epi16(0xAAAAAAAA, low, high));
  }
  ANNULUS_INLINE void store(Word* p, Simd::Reg pairs) { _mm512_storeu_ps(p, pairs); }
  ANNULUS_INLINE Simd::Reg words_of_row(const Bf16* row, int64_t n) {
    const __mmask32 mask = n >= 32 ? 0xFFFFFFFFu : n <= 0 ? 0u : (1u << n) - 1;
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, row));
  }
  ANNULUS_INLINE Simd::Reg words_of_rows(const Bf16* row, const Bf16* last, int64_t n) {
    const __m512i below = _mm512_castps_si512(load_first(row, n));
    const __m512i above = last ? _mm512_castps_si512(load_first(last, n)) : _mm512_setzero_si512();
    return _mm512_castsi512_ps(_mm512_or_si512(above, _mm512_srli_epi32(below, 16)));
  }
};
#endif

/// How tensors of T are multiplied.
template <class T>
struct OperandsOf {
  using Type = Floats;
};
#if defined(__AVX512BF16__)
template <>
struct OperandsOf<Bf16> {
  using Type = Bf16Pairs;
};
#endif
template <class T>
using Operands = typename OperandsOf<T>::Type;
template <class T>
using Word = typename Operands<T>::Word;
template <class T>
constexpr int64_t kPerWord = Operands<T>::kPerWord;

}  // namespace annulus::cpu::ANNULUS_ISA
