#pragma once
// The Euclidean norm, in which law 1 is stated.
#include <cmath>
#include <vector>

namespace annulus::test {

inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double squares = 0.0;
  for (size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(squares);
}

inline double norm(const std::vector<double>& a) { return distance(a, std::vector<double>(a.size())); }

}  // namespace annulus::test
