#pragma once
// The one matrix micro-kernel of the attention kernels: a few rows of broadcast scalars times a few registers of lanes.
// Per step of depth it loads kRegs registers and broadcasts kRows scalars for kRows * kRegs fused multiply-adds, all in
// registers; nothing is transposed and no lane is ever summed across.
#include "kernels/cpu/per_isa/simd.h"

namespace annulus::cpu::ANNULUS_ISA {

/// c[m][n] = sum over k < depth of a[m * a_row + k * a_step] * b[k * b_row + n * kLanes + lane], then finish(c).
template <int kRows, int kRegs, class Finish>
[[gnu::always_inline]] inline void tile_product(const float* a, int64_t a_row, int64_t a_step, const float* b,
                                                int64_t b_row, int64_t depth, Finish&& finish) {
  Simd::Reg c[kRows][kRegs];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < kRegs; ++n) c[m][n] = Simd::zero();
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; ++k) {
    Simd::Reg row[kRegs];
#pragma GCC unroll 8
    for (int n = 0; n < kRegs; ++n) row[n] = Simd::load(b + k * b_row + n * Simd::kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const Simd::Reg scalar = Simd::set1(a[m * a_row + k * a_step]);
#pragma GCC unroll 8
      for (int n = 0; n < kRegs; ++n) c[m][n] = Simd::fma(scalar, row[n], c[m][n]);
    }
  }
  finish(c);
}

/// A number of rows or registers that the compiler knows: decltype(rows)::kCount.
template <int kRows>
struct Rows {
  static constexpr int kCount = kRows;
};

/// body(Rows<n>{}, first row) over `rows` rows: kRowsPerTile at a time, what is left one by one.
template <class Body>
[[gnu::always_inline]] inline void for_row_groups(int64_t rows, Body&& body) {
  int64_t row = 0;
  for (; row + Simd::kRowsPerTile <= rows; row += Simd::kRowsPerTile) body(Rows<Simd::kRowsPerTile>{}, row);
  for (; row < rows; ++row) body(Rows<1>{}, row);
}

}  // namespace annulus::cpu::ANNULUS_ISA
