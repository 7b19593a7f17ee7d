#pragma once
// Random test data: doubles that a float holds exactly, so that rounding the input is no part of any error.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/core/dtype.h"
#include "runtime/core/rng.h"

namespace annulus::test {

inline std::vector<double> random_normal(int64_t n, uint64_t seed, double spread = 1.0) {
  const CounterRng rng(seed, "test data");
  std::vector<double> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(spread * rng.normal(i));
  return values;
}

/// What `dtype` holds of the values.
inline std::vector<double> rounded_to(Dtype dtype, std::vector<double> values) {
  if (dtype == Dtype::kBf16)
    for (double& value : values) value = Bf16::from(static_cast<float>(value)).to_float();
  return values;
}

inline std::vector<int64_t> random_below(int64_t n, int64_t bound, uint64_t seed) {
  const CounterRng rng(seed, "test tokens");
  std::vector<int64_t> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<int64_t>(rng.below(i, static_cast<uint64_t>(bound)));
  return values;
}

}  // namespace annulus::test
