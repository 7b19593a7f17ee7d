#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace annulus::cudasim {

template <class T>
std::vector<T> random_values(size_t count, uint32_t seed) {
  std::mt19937_64 random(seed);
  std::vector<T> values(count);
  for (T& value : values) {
    if constexpr (std::is_floating_point_v<T>)
      value =
          std::ldexp(static_cast<T>(static_cast<int>(random() % 20001) - 10000), static_cast<int>(random() % 9) - 4);
    else
      value = static_cast<T>(random() >> random() % 32) / 2;
  }
  return values;
}

/// Sums of integers are exact. A sum of n floating point numbers in any order errs by less than n roundings of the sum
/// of their magnitudes.
template <class T>
void expect_sum(T got, const T* values, size_t count) {
  if constexpr (std::is_floating_point_v<T>) {
    long double sum = 0, magnitude = 0;
    for (size_t i = 0; i < count; ++i) sum += values[i], magnitude += std::fabs(values[i]);
    const long double limit = static_cast<long double>(count) * std::numeric_limits<T>::epsilon() / 2 * magnitude;
    EXPECT_LE(std::fabs(static_cast<long double>(got) - sum), limit) << count;
  } else {
    using U = std::make_unsigned_t<T>;
    U sum = 0;
    for (size_t i = 0; i < count; ++i) sum += static_cast<U>(values[i]);
    EXPECT_EQ(got, static_cast<T>(sum)) << count;
  }
}

}  // namespace annulus::cudasim
