#pragma once
// The one matrix micro-kernel of the attention kernels: a few rows of broadcast words times a few registers of lanes.
// Per step of depth it loads kRegs registers and broadcasts kRows words for kRows * kRegs multiply-adds, all in
// registers; nothing is transposed and no lane is ever summed across.
#include "kernels/cpu/per_isa/operands.h"

namespace annulus::cpu::ANNULUS_ISA {

/// c[m][n] = sum over k < depth of a[m * a_row + k * a_step] * b[k * b_row + n * kLanes + lane], then finish(c). Rows,
/// steps and depth count words.
template <class Op, int kRows, int kRegs, class Finish>
[[gnu::always_inline]] inline void tile_product(const typename Op::Word* a, int64_t a_row, int64_t a_step,
                                                const typename Op::Word* b, int64_t b_row, int64_t depth,
                                                Finish&& finish) {
  Simd::Reg c[kRows][kRegs];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < kRegs; ++n) c[m][n] = Simd::zero();
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; ++k) {
    Simd::Reg row[kRegs];
#pragma GCC unroll 8
    for (int n = 0; n < kRegs; ++n) row[n] = Op::load(b + k * b_row + n * Simd::kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const Simd::Reg word = Op::broadcast(a + m * a_row + k * a_step);
#pragma GCC unroll 8
      for (int n = 0; n < kRegs; ++n) c[m][n] = Op::multiply_add(word, row[n], c[m][n]);
    }
  }
  finish(c);
}

/// A number of rows or registers that the compiler knows: decltype(rows)::kCount.
template <int kRows>
struct Rows {
  static constexpr int kCount = kRows;
};

/// body(Rows<n>{}, first row) over `rows` rows: kRowsPerTile at a time, what is left in pairs and one by one.
template <class Body>
[[gnu::always_inline]] inline void for_row_groups(int64_t rows, Body&& body) {
  int64_t row = 0;
  for (; row + Simd::kRowsPerTile <= rows; row += Simd::kRowsPerTile) body(Rows<Simd::kRowsPerTile>{}, row);
  for (; row + 2 <= rows; row += 2) body(Rows<2>{}, row);
  if (row < rows) body(Rows<1>{}, row);
}

}  // namespace annulus::cpu::ANNULUS_ISA
