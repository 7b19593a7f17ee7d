#pragma once
// What all parts of the oracle need: a check that throws, conversion to the scalar under test, and the worst error.
// The oracle includes nothing of annulus, so that a mistake there cannot hide here. Obviously right comes before fast.

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace oracle {

/// Throws std::invalid_argument. `what` is a literal, so that a check costs nothing when it holds.
inline void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(std::string("oracle: ") + what);
}

template <class T>
int64_t length(const std::vector<T>& x) {
  return static_cast<int64_t>(x.size());
}

/// Inputs are always given as doubles; each loop then works in T only.
template <class T>
std::vector<T> converted(const std::vector<double>& x) {
  return std::vector<T>(x.begin(), x.end());
}

/// max |got - exact|, leaving out entries where both are -inf (the lse of a row that sees no key).
/// Infinity if any other entry of either is not finite. Throws if the lengths differ.
template <class T>
double worst_error(const std::vector<T>& got, const std::vector<double>& exact) {
  require(got.size() == exact.size(), "worst_error of vectors of different lengths");
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double worst = 0.0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double a = static_cast<double>(got[i]), b = exact[i];
    if (a == -kInfinity && b == -kInfinity) continue;
    if (!std::isfinite(a) || !std::isfinite(b)) return kInfinity;
    worst = std::fmax(worst, std::fabs(a - b));
  }
  return worst;
}

}  // namespace oracle
