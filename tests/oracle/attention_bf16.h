#pragma once
// How far each result of attention may be from the exact one because of bfloat16 alone: of inputs that bfloat16 holds
// exactly, with sums in a type that is not rounded. What is rounded is out; and, where the processor multiplies
// bfloat16, the weights p and their gradients ds. Sums of the absolute values of all terms, first order.

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/oracle/attention.h"

namespace oracle {

/// Half a unit in the last place of bfloat16: eight bits.
constexpr double kBf16Rounding = 0x1p-8;

/// A weight is a quotient of exponentials, each wrong by up to 1.1e-4.
constexpr double kCoarseWeight = 2.2e-4;

/// The arguments of attention<double>() and its result; the fields have the shapes of that result.
inline AttentionResult<double> bf16_rounding(const std::vector<double>& q, const std::vector<double>& k,
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
        // A plain loop adds products of two bfloat16 nearly without rounding. Where queries are scaled first, the sum
        // of a score is rounded Dqk times; that shows in large scores only.
        double largest_score = 0;
        for (const int64_t j : keys) {
          double score = 0;
          for (int64_t d = 0; d < Dqk; ++d) score += std::abs(scale * q_row[d] * k[(key_0 + j * K) * Dqk + d]);
          largest_score = std::max(largest_score, score);
        }
        const double score_error = static_cast<double>(Dqk) * 0x1p-24 * largest_score;
        const double weight_error = kBf16Rounding + kCoarseWeight + std::min(1.0, score_error);
        m.lse[row] = keys.empty() ? 0 : kCoarseWeight + score_error;
        for (const int64_t j : keys) {
          const double* v_row = &v[(key_0 + j * K) * Dv];
          const double p = std::exp(scale * plain_dot(q_row, &k[(key_0 + j * K) * Dqk], Dqk) - exact.lse[row]);
          for (int64_t d = 0; d < Dv; ++d) m.out[query * Dv + d] += weight_error * p * std::abs(v_row[d]);
        }
        double delta_error = 0;
        for (int64_t d = 0; d < Dv; ++d) {
          m.out[query * Dv + d] += kBf16Rounding * (std::abs(out_row[d]) + m.out[query * Dv + d]);
          delta_error += std::abs(dout_row[d]) * m.out[query * Dv + d];
        }
        const double delta = plain_dot(dout_row, out_row, Dv);
        for (const int64_t j : keys) {
          const int64_t key = key_0 + j * K;
          const double p = std::exp(scale * plain_dot(q_row, &k[key * Dqk], Dqk) - exact.lse[row]);
          const double dp = plain_dot(dout_row, &v[key * Dv], Dv);
          const double ds_error = p * (weight_error * std::abs(dp - delta) + (1 + kBf16Rounding) * delta_error);
          for (int64_t d = 0; d < Dv; ++d) m.dv[key * Dv + d] += weight_error * p * std::abs(dout_row[d]);
          for (int64_t d = 0; d < Dqk; ++d)
            m.dq[query * Dqk + d] += std::abs(scale) * ds_error * std::abs(k[key * Dqk + d]);
          for (int64_t d = 0; d < Dqk; ++d) m.dk[key * Dqk + d] += std::abs(scale) * ds_error * std::abs(q_row[d]);
        }
      }
  }
  return m;
}

}  // namespace oracle
