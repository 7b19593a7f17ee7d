#pragma once
// Gradients from values only: the judge of every hand-derived backward of the oracle.

#include <cstddef>
#include <functional>
#include <vector>

namespace oracle {

using ScalarFunction = std::function<double(const std::vector<double>&)>;

constexpr double kDifferenceStep = 1e-4;

/// Two central differences D(h), D(2h) leave (4 D(h) - D(2h)) / 3 with an error of h^4/30 |f'''''| + 1.5 e / h, where e
/// is the error of f itself. With h = 1e-4, values of f near 1 (e = 1e-14: some hundred roundings of u = 1.1e-16) and
/// fifth derivatives up to 1e8 (the square root in RMSNorm of short vectors), that is 3e-10 + 2e-10. Plain central
/// differences would leave 1e-8. A wrong formula is off by 1e-3 or more.
constexpr double kDifferenceLimit = 1e-9;

inline double central_difference(const ScalarFunction& f, std::vector<double>& x, size_t i, double step) {
  const double at = x[i];
  x[i] = at + step;
  const double above = f(x);
  x[i] = at - step;
  const double below = f(x);
  x[i] = at;
  return (above - below) / (2 * step);
}

/// d f / d x at x, one entry at a time: calls f four times per entry.
inline std::vector<double> central_differences(const ScalarFunction& f, std::vector<double> x) {
  std::vector<double> gradient;
  for (size_t i = 0; i < x.size(); ++i) {
    const double wide = central_difference(f, x, i, 2 * kDifferenceStep),
                 narrow = central_difference(f, x, i, kDifferenceStep);
    gradient.push_back((4 * narrow - wide) / 3);
  }
  return gradient;
}

}  // namespace oracle
