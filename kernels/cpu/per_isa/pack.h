#pragma once
// Between row-major rows (one token each) and the lanes-are-tokens layout of the attention kernels, in the words that
// their products take.
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/operands.h"

namespace annulus::cpu::ANNULUS_ISA {

constexpr int64_t kQueryBlock = Simd::kQueryBlock;
constexpr int64_t kGroup = Simd::kRegsPerTile * Simd::kLanes;  // queries that one micro-kernel call covers
static_assert(kQueryBlock % kGroup == 0);

inline int64_t padded_to_lanes(int64_t n) { return (n + Simd::kLanes - 1) / Simd::kLanes * Simd::kLanes; }
inline int64_t padded_to_groups(int64_t n) { return (n + kGroup - 1) / kGroup * kGroup; }

/// Word d of lane i is component d of row i times `factor`, or the components 2d and 2d + 1 as they are; 0 for rows <=
/// i < kQueryBlock. `width` is even. Groups of kGroup lanes lie one behind the other, (words, kGroup) each: what a
/// product reads again and again is then contiguous, and fills all sets of the first-level cache alike.
template <class T>
void pack_lanes(Word<T>* dst, const T* src, int64_t src_row, int64_t rows, int64_t width, float factor) {
  constexpr int kLanes = Simd::kLanes;
  const Simd::Reg scale = Simd::set1(factor);
  for (int64_t i0 = 0; i0 < kQueryBlock; i0 += kLanes) {
    Word<T>* lanes = dst + i0 / kGroup * kGroup * (width / kPerWord<T>)+i0 % kGroup;
    for (int64_t d0 = 0; d0 < width; d0 += kLanes) {
      Simd::Reg r[kLanes];
      for (int i = 0; i < kLanes; ++i)
        r[i] = i0 + i < rows ? load_first(src + (i0 + i) * src_row + d0, width - d0) : Simd::zero();
      Simd::transpose(r);
      for (int d = 0; d < kLanes && d0 + d < width; d += kPerWord<T>) {
        Word<T>* out = lanes + (d0 + d) / kPerWord<T> * kGroup;
        if constexpr (kPerWord<T> == 1)
          Simd::store(out, Simd::mul(r[d], scale));
        else
          Operands<T>::store(out, Operands<T>::pair(r[d], r[d + 1]));
      }
    }
  }
}

/// dst[i * dst_row + d] = factor[i] * src[d * kQueryBlock + i] (+ what was there, if kAdd), for i < rows, d < width.
template <bool kAdd, class T>
void unpack_lanes(T* dst, int64_t dst_row, const float* src, int64_t rows, int64_t width, const float* factor) {
  constexpr int kLanes = Simd::kLanes;
  for (int64_t i0 = 0; i0 < rows; i0 += kLanes) {
    const Simd::Reg scale = Simd::load(factor + i0);
    for (int64_t d0 = 0; d0 < width; d0 += kLanes) {
      Simd::Reg r[kLanes];
      for (int d = 0; d < kLanes; ++d)
        r[d] = d0 + d < width ? Simd::mul(Simd::load(src + (d0 + d) * kQueryBlock + i0), scale) : Simd::zero();
      Simd::transpose(r);
      for (int i = 0; i < kLanes && i0 + i < rows; ++i) {
        T* out = dst + (i0 + i) * dst_row + d0;
        const Simd::Reg value = kAdd ? Simd::add(load_first(out, width - d0), r[i]) : r[i];
        store_first(out, value, width - d0);
      }
    }
  }
}

/// Lane d of word row i: component d of row i times `factor`, or of the rows 2i and 2i + 1 as they are. Columns from
/// `width` up to a multiple of lanes, and rows from `rows` up to kQueryBlock, become 0. Groups of kGroup columns lie
/// one behind the other, (kQueryBlock / kPerWord, kGroup) each, as in pack_lanes().
template <class T>
void pack_rows(Word<T>* dst, const T* src, int64_t src_row, int64_t rows, int64_t width, float factor) {
  const Simd::Reg scale = Simd::set1(factor);
  for (int64_t i = 0; i < kQueryBlock; i += kPerWord<T>)
    for (int64_t d = 0; d < width; d += Simd::kLanes) {
      const auto row = [&](int64_t at) ANNULUS_ALWAYS {
        return at < rows ? load_first(src + at * src_row + d, width - d) : Simd::zero();
      };
      Word<T>* out = dst + (d / kGroup * kQueryBlock + i) / kPerWord<T> * kGroup + d % kGroup;
      if constexpr (kPerWord<T> == 1)
        Simd::store(out, Simd::mul(row(i), scale));
      else
        Operands<T>::store(out, Operands<T>::pair(row(i), row(i + 1)));
    }
}

}  // namespace annulus::cpu::ANNULUS_ISA
