#pragma once
// Between row-major rows (one token each) and the lanes-are-tokens layout of the attention kernels.
#include "kernels/cpu/per_isa/simd.h"

namespace annulus::cpu::ANNULUS_ISA {

constexpr int64_t kQueryBlock = Simd::kQueryBlock;

inline int64_t padded_to_lanes(int64_t n) { return (n + Simd::kLanes - 1) / Simd::kLanes * Simd::kLanes; }

/// dst[d * kQueryBlock + i] = factor * src[i * src_row + d] for i < rows, d < width; 0 for rows <= i < kQueryBlock.
inline void pack_lanes(float* dst, const float* src, int64_t src_row, int64_t rows, int64_t width, float factor) {
  constexpr int kLanes = Simd::kLanes;
  const Simd::Reg scale = Simd::set1(factor);
  for (int64_t i0 = 0; i0 < kQueryBlock; i0 += kLanes) {
    for (int64_t d0 = 0; d0 < width; d0 += kLanes) {
      Simd::Reg r[kLanes];
      for (int i = 0; i < kLanes; ++i)
        r[i] = i0 + i < rows ? Simd::load_first(src + (i0 + i) * src_row + d0, width - d0) : Simd::zero();
      Simd::transpose(r);
      for (int d = 0; d < kLanes && d0 + d < width; ++d)
        Simd::store(dst + (d0 + d) * kQueryBlock + i0, Simd::mul(r[d], scale));
    }
  }
}

/// dst[i * dst_row + d] = factor[i] * src[d * kQueryBlock + i] (+ what was there, if kAdd), for i < rows, d < width.
template <bool kAdd>
inline void unpack_lanes(float* dst, int64_t dst_row, const float* src, int64_t rows, int64_t width,
                         const float* factor) {
  constexpr int kLanes = Simd::kLanes;
  for (int64_t i0 = 0; i0 < rows; i0 += kLanes) {
    const Simd::Reg scale = Simd::load(factor + i0);
    for (int64_t d0 = 0; d0 < width; d0 += kLanes) {
      Simd::Reg r[kLanes];
      for (int d = 0; d < kLanes; ++d)
        r[d] = d0 + d < width ? Simd::mul(Simd::load(src + (d0 + d) * kQueryBlock + i0), scale) : Simd::zero();
      Simd::transpose(r);
      for (int i = 0; i < kLanes && i0 + i < rows; ++i) {
        float* out = dst + (i0 + i) * dst_row + d0;
        const Simd::Reg value = kAdd ? Simd::add(Simd::load_first(out, width - d0), r[i]) : r[i];
        Simd::store_first(out, value, width - d0);
      }
    }
  }
}

/// dst[i * dst_row + d] = factor * src[i * src_row + d]; columns width .. padded_to_lanes(width) become 0.
inline void pack_rows(float* dst, const float* src, int64_t src_row, int64_t rows, int64_t width, float factor) {
  const Simd::Reg scale = Simd::set1(factor);
  const int64_t dst_row = padded_to_lanes(width);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t d = 0; d < width; d += Simd::kLanes)
      Simd::store(dst + i * dst_row + d, Simd::mul(Simd::load_first(src + i * src_row + d, width - d), scale));
}

}  // namespace annulus::cpu::ANNULUS_ISA
