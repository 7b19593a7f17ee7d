#pragma once
// Some tokens of a whole sequence, and back.
#include <cstdint>
#include <vector>

namespace annulus::test {

/// (B, S, row) -> (B, T, row): the tokens at `positions`.
inline std::vector<double> gather_tokens(const std::vector<double>& x, int64_t B, int64_t row,
                                         const std::vector<int64_t>& positions) {
  const int64_t S = B * row > 0 ? static_cast<int64_t>(x.size()) / (B * row) : 0;
  std::vector<double> part;
  for (int64_t b = 0; b < B; ++b)
    for (const int64_t p : positions)
      part.insert(part.end(), x.begin() + (b * S + p) * row, x.begin() + (b * S + p + 1) * row);
  return part;
}

/// The reverse: writes (B, T, row) to its positions of (B, S, row).
inline void scatter_tokens(std::vector<double>& x, const std::vector<double>& part, int64_t B, int64_t row,
                           const std::vector<int64_t>& positions) {
  const int64_t S = static_cast<int64_t>(x.size()) / (B * row), T = static_cast<int64_t>(positions.size());
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < T; ++t)
      for (int64_t i = 0; i < row; ++i)
        x[static_cast<size_t>((b * S + positions[static_cast<size_t>(t)]) * row + i)] =
            part[static_cast<size_t>((b * T + t) * row + i)];
}

}  // namespace annulus::test
