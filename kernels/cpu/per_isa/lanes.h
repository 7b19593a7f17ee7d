#pragma once
// Which queries (lanes) of a register see one key.
#include "kernels/cpu/per_isa/simd.h"
#include "kernels/mask.h"

namespace annulus::cpu::ANNULUS_ISA {

constexpr float kMinusInfinity = -__builtin_inff();

/// Lanes whose query rows first_row, first_row + 1, ... see key row `key` through the slice, inside its keys or not.
[[gnu::always_inline]] inline Simd::Lanes lanes_that_see(const BandSlice& slice, int64_t key, int64_t first_row) {
  if (key < slice.k0 || key >= slice.k1) return Simd::lanes_between(0, 0);
  const int64_t from = key + slice.lo, to = key + slice.hi + 1;
  return Simd::lanes_between((slice.q0 > from ? slice.q0 : from) - first_row,
                             (slice.q1 < to ? slice.q1 : to) - first_row);
}

}  // namespace annulus::cpu::ANNULUS_ISA
