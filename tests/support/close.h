#pragma once
// Error limits and how they are checked; docs/NUMERICS.md derives them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace annulus::test {

constexpr double kUnitRoundoff = 0x1p-24;  // half a unit in the last place of f32

constexpr double kBf16Roundoff = 0x1p-8;  // the same of bf16

/// An element may be off by absolute + relative * |exact|.
struct Tolerance {
  double absolute, relative = 0.0;
};

/// A result within `limit` that is then rounded to bf16.
inline Tolerance rounded_to_bf16(Tolerance limit) {
  return {limit.absolute * (1.0 + kBf16Roundoff), limit.relative * (1.0 + kBf16Roundoff) + kBf16Roundoff};
}

/// For a chain of operations: twice the worst error that a plain loop in f32 makes on the very same data, plus one
/// rounding of `magnitudes`, the sums of absolute terms (|exact| where nothing cancels).
template <class Plain>
Tolerance twice_error_of(const std::vector<Plain>& plain, const std::vector<double>& exact,
                         const std::vector<double>& magnitudes) {
  double worst = 0.0, largest = 0x1p-126;  // numbers below that are rounded as it is: by 2^-150
  for (size_t i = 0; i < exact.size(); ++i) {
    if (!std::isfinite(exact[i])) continue;
    const double error = std::abs(static_cast<double>(plain[i]) - exact[i]);
    worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
    largest = std::max(largest, std::abs(magnitudes[i]));
  }
  return {2.0 * worst + kUnitRoundoff * largest};
}

template <class Plain>
Tolerance twice_error_of(const std::vector<Plain>& plain, const std::vector<double>& exact) {
  return twice_error_of(plain, exact, exact);
}

/// Every element within the limit; infinities must match exactly, and nothing may be NaN. With ANNULUS_PRINT_ERRORS set
/// it prints the measured error beside the limit (docs/NUMERICS.md).
inline void expect_close(const std::vector<double>& got, const std::vector<double>& exact, Tolerance limit,
                         const std::string& what) {
  ASSERT_EQ(got.size(), exact.size()) << what;
  ASSERT_TRUE(std::isfinite(limit.absolute)) << what << ": a plain loop in f32 overflows, so that there is no limit";
  double worst = 0.0, allowed = limit.absolute, worst_share = 0.0;
  size_t where = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = got[i] == exact[i] ? 0.0 : std::abs(got[i] - exact[i]);
    const double here = limit.absolute + (std::isfinite(exact[i]) ? limit.relative * std::abs(exact[i]) : 0.0);
    const double share = error == 0.0 ? 0.0 : error / here;  // infinite where the limit is 0
    if (share <= worst_share) continue;                      // also false for NaN
    worst = error;
    allowed = here;
    worst_share = share;
    where = i;
    if (std::isnan(worst)) break;
  }
  EXPECT_LE(worst, allowed) << what << "[" << where << "] is " << (got.empty() ? 0.0 : got[where]) << ", exact "
                            << (exact.empty() ? 0.0 : exact[where]);
  if (std::getenv("ANNULUS_PRINT_ERRORS"))
    std::cout << "error " << what << " " << worst << " limit " << allowed << "\n";
}

}  // namespace annulus::test
