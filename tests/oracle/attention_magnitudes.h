#pragma once
// How far each result of attention would move if every intermediate (score, weight, dp, delta, product) were rounded
// once: sums of the absolute values of all terms. Times the unit roundoff this is the "one rounding" of an error limit;
// it stays meaningful where the result itself cancels to zero, and where it underflows.

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/oracle/attention.h"

namespace oracle {

/// A number below the normal ones is rounded as the smallest of them is: to a multiple of 2^-149.
inline double as_rounded(double x) { return std::max(std::abs(x), 0x1p-126); }

/// What may stand in for a weight of 0, over the unit roundoff: exponentials below 2^-126 are 0, also that by which a
/// later, larger maximum scales those before it, which may be as large as 2^10.
constexpr double kFlushedWeight = 0x1p-116 / 0x1p-24;

/// A weight is between 0 and 1, so that it moves by no more than that, however little its scores say.
constexpr double kWholeWeight = 1 / 0x1p-24;

/// Roundings of a score that a plain loop does not make: scale * log2(e), and the product of q with that.
constexpr double kRoundingsOfScale = 2;

inline double absolute_dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += as_rounded(a[i] * b[i]);
  return sum;
}

/// sum over d of |scale q_d k_d|, where scale * q_d is a number of its own.
inline double absolute_score(double scale, const double* q, const double* k, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += as_rounded(scale * q[i]) * std::abs(k[i]);
  return sum;
}

/// The arguments of attention<double>() and its result; the fields have the shapes of that result.
inline AttentionResult<double> attention_magnitudes(const std::vector<double>& q, const std::vector<double>& k,
                                                    const std::vector<double>& v, const std::vector<double>& dout,
                                                    const AttentionShape& shape, const std::vector<Slice>& slices,
                                                    double scale, const AttentionResult<double>& exact) {
  const auto [B, Sq, Sk, H, K, Dqk, Dv] = shape;
  AttentionResult<double> m = {std::vector<double>(exact.out.size()), std::vector<double>(exact.lse.size()),
                               std::vector<double>(exact.dq.size()), std::vector<double>(exact.dk.size()),
                               std::vector<double>(exact.dv.size())};
  for (int64_t i = 0; i < Sq; ++i) {
    const std::vector<int64_t> keys = visible_keys(slices, i, Sk);
    for (int64_t b = 0; b < B; ++b)
      for (int64_t h = 0; h < H; ++h) {
        const int64_t query = (b * Sq + i) * H + h, key_0 = b * Sk * K + h / (H / K);
        const size_t row = static_cast<size_t>((b * H + h) * Sq + i);
        const double *q_row = &q[query * Dqk], *dout_row = &dout[query * Dv], *out_row = &exact.out[query * Dv];
        double condition = 1;  // relative movement of a weight: its own rounding and those of its score
        for (const int64_t j : keys)
          condition =
              std::max(condition, 1 + kRoundingsOfScale * absolute_score(scale, q_row, &k[(key_0 + j * K) * Dqk], Dqk));
        m.lse[row] = keys.empty() ? 0 : condition;
        const double delta = plain_dot(dout_row, out_row, Dv), delta_size = absolute_dot(dout_row, out_row, Dv);
        for (const int64_t j : keys) {
          const int64_t key = key_0 + j * K;
          const double p = std::exp(scale * plain_dot(q_row, &k[key * Dqk], Dqk) - exact.lse[row]);
          const double weight = std::min(condition * p, kWholeWeight) + kFlushedWeight;
          const double dp = plain_dot(dout_row, &v[key * Dv], Dv);
          const double dp_size = absolute_dot(dout_row, &v[key * Dv], Dv);
          const double ds = as_rounded(p * (dp_size + delta_size) + weight * std::abs(dp - delta));
          for (int64_t d = 0; d < Dv; ++d) m.out[query * Dv + d] += as_rounded(weight * v[key * Dv + d]);
          for (int64_t d = 0; d < Dv; ++d) m.dv[key * Dv + d] += as_rounded(weight * dout_row[d]);
          for (int64_t d = 0; d < Dqk; ++d)
            m.dq[query * Dqk + d] += as_rounded(scale * as_rounded(ds * k[key * Dqk + d]));
          for (int64_t d = 0; d < Dqk; ++d) m.dk[key * Dqk + d] += as_rounded(ds * as_rounded(scale * q_row[d]));
        }
      }
  }
  return m;
}

}  // namespace oracle
