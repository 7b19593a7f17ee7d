#pragma once
// Sums and maxima of long rows in a fixed order: four registers side by side, then lane by lane. The order depends on
// the instruction set only, never on threads or ranks.
#include "kernels/cpu/per_isa/simd.h"

namespace annulus::cpu::ANNULUS_ISA {

inline float sum_lanes(Simd::Reg r) {
  float lanes[Simd::kLanes];
  Simd::store(lanes, r);
  for (int width = Simd::kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

inline float max_lanes(Simd::Reg r) {
  float lanes[Simd::kLanes];
  Simd::store(lanes, r);
  for (int i = 1; i < Simd::kLanes; ++i) lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
  return lanes[0];
}

/// The sum of term(i, count) over i = 0, kLanes, 2 kLanes, ... < n: term gives the register at i, of which `count`
/// lanes exist, and must be 0 in the others.
template <class Term>
[[gnu::always_inline]] inline float sum_over(int64_t n, Term&& term) {
  Simd::Reg sum[4] = {Simd::zero(), Simd::zero(), Simd::zero(), Simd::zero()};
  constexpr int64_t kStep = 4 * Simd::kLanes;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep)
    for (int u = 0; u < 4; ++u) sum[u] = Simd::add(sum[u], term(i + u * Simd::kLanes, int64_t{Simd::kLanes}));
  for (; i < n; i += Simd::kLanes) sum[0] = Simd::add(sum[0], term(i, n - i));
  return sum_lanes(Simd::add(Simd::add(sum[0], sum[1]), Simd::add(sum[2], sum[3])));
}

/// body(i, count) for the registers of a row of n floats; `count` lanes exist.
template <class Body>
[[gnu::always_inline]] inline void for_lanes(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + Simd::kLanes <= n; i += Simd::kLanes) body(i, int64_t{Simd::kLanes});
  if (i < n) body(i, n - i);
}

}  // namespace annulus::cpu::ANNULUS_ISA
