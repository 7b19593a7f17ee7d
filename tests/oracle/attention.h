#pragma once
// Softmax attention under a list of band slices, forward and backward, as a plain loop over rows in one scalar type T.
// T = double is the exact reference; T = float is the plain same-dtype loop that error limits are derived from.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include "tests/oracle/vectors.h"

namespace oracle {

/// q0, q1, k0, k1, lo, hi in global positions: query i in [q0,q1) sees key j in [k0,k1) iff lo <= i - j <= hi.
using Slice = std::array<int64_t, 6>;

/// Positions are far smaller than this, so that bounds beyond it mean "unbounded" and i - bound cannot overflow.
constexpr int64_t kUnbounded = int64_t{1} << 62;

inline bool sees(const std::vector<Slice>& slices, int64_t i, int64_t j) {
  for (const auto& [q0, q1, k0, k1, lo, hi] : slices)
    if (q0 <= i && i < q1 && k0 <= j && j < k1 && lo <= i - j && i - j <= hi) return true;
  return false;
}

/// All keys j in [0, Sk) with sees(slices, i, j), ascending, each once (also where slices overlap).
inline std::vector<int64_t> visible_keys(const std::vector<Slice>& slices, int64_t i, int64_t Sk) {
  std::vector<int64_t> keys;
  for (const auto& [q0, q1, k0, k1, lo, hi] : slices) {
    if (i < q0 || i >= q1) continue;
    const int64_t begin = std::max({int64_t{0}, k0, i - std::clamp(hi, -kUnbounded, kUnbounded)});
    const int64_t end = std::min({Sk, k1, i - std::clamp(lo, -kUnbounded, kUnbounded) + 1});
    for (int64_t j = begin; j < end; ++j) keys.push_back(j);
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

/// q (B,Sq,H,Dqk), k (B,Sk,K,Dqk), v (B,Sk,K,Dv), dout (B,Sq,H,Dv), row-major. Query head h reads key/value head h /
/// (H/K). Row i of q is position i, row j of k and v is position j.
struct AttentionShape {
  int64_t B, Sq, Sk, H, K, Dqk, Dv;
};

/// out like dout; lse (B,H,Sq), natural logarithm; dq, dk, dv like q, k, v.
/// A row that sees no key has out = 0, lse = -inf and gives no gradient.
template <class T>
struct AttentionResult {
  std::vector<T> out, lse, dq, dk, dv;
};

/// One query row of one head: pointers to its own vectors, and to key and value 0 of its key/value head.
template <class T>
struct AttentionRow {
  int64_t Dqk, Dv, k_stride, v_stride;
  T scale;
  const T *q, *k, *v, *dout;
  T *out, *lse, *dq, *dk, *dv;
};

template <class T>
T plain_dot(const T* a, const T* b, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// Writes score (one per key), out and lse. `out` must be zero on entry.
template <class T>
void attention_row_forward(const AttentionRow<T>& row, const std::vector<int64_t>& keys, std::vector<T>& score) {
  *row.lse = -std::numeric_limits<T>::infinity();
  score.resize(keys.size());
  if (keys.empty()) return;
  for (size_t n = 0; n < keys.size(); ++n)
    score[n] = row.scale * plain_dot(row.q, row.k + keys[n] * row.k_stride, row.Dqk);
  const T largest = *std::max_element(score.begin(), score.end());
  T sum = 0;
  for (size_t n = 0; n < keys.size(); ++n) {
    const T weight = std::exp(score[n] - largest);
    sum += weight;
    for (int64_t d = 0; d < row.Dv; ++d) row.out[d] += weight * row.v[keys[n] * row.v_stride + d];
  }
  for (int64_t d = 0; d < row.Dv; ++d) row.out[d] /= sum;
  *row.lse = largest + std::log(sum);
}

/// Adds this row's part to dq, dk and dv: ds = p * (dp - delta) with p = exp(s - lse), delta = dout . out.
template <class T>
void attention_row_backward(const AttentionRow<T>& row, const std::vector<int64_t>& keys, const std::vector<T>& score) {
  const T delta = plain_dot(row.dout, row.out, row.Dv);
  for (size_t n = 0; n < keys.size(); ++n) {
    const int64_t key = keys[n] * row.k_stride, value = keys[n] * row.v_stride;
    const T p = std::exp(score[n] - *row.lse);
    const T dp = plain_dot(row.dout, row.v + value, row.Dv);
    const T ds = p * (dp - delta);
    for (int64_t d = 0; d < row.Dv; ++d) row.dv[value + d] += p * row.dout[d];
    for (int64_t d = 0; d < row.Dqk; ++d) row.dq[d] += row.scale * ds * row.k[key + d];
    for (int64_t d = 0; d < row.Dqk; ++d) row.dk[key + d] += row.scale * ds * row.q[d];
  }
}

inline void check_attention(const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v,
                            const std::vector<double>& dout, const AttentionShape& s) {
  require(s.K > 0 && s.H % s.K == 0, "attention: H is not a multiple of K");
  require(length(q) == s.B * s.Sq * s.H * s.Dqk, "attention: q does not have the shape (B,Sq,H,Dqk)");
  require(length(k) == s.B * s.Sk * s.K * s.Dqk, "attention: k does not have the shape (B,Sk,K,Dqk)");
  require(length(v) == s.B * s.Sk * s.K * s.Dv, "attention: v does not have the shape (B,Sk,K,Dv)");
  require(length(dout) == s.B * s.Sq * s.H * s.Dv, "attention: dout does not have the shape (B,Sq,H,Dv)");
}

/// The numbers 0, stride, 2 stride, ..., 1, 1 + stride, ..., each once, in that order, out of ascending `numbers`.
inline std::vector<int64_t> in_strides(const std::vector<int64_t>& numbers, int64_t stride) {
  std::vector<int64_t> order;
  for (int64_t first = 0; first < stride; ++first)
    for (const int64_t n : numbers)
      if (n % stride == first) order.push_back(n);
  return order;
}

/// Forward and backward. `scale` multiplies q.k. Sums over keys and over queries run in strides: what that changes is
/// rounding only. Throws std::invalid_argument if a vector does not fit the shape.
template <class T>
AttentionResult<T> attention(const std::vector<double>& q64, const std::vector<double>& k64,
                             const std::vector<double>& v64, const std::vector<double>& dout64,
                             const AttentionShape& shape, const std::vector<Slice>& slices, T scale,
                             int64_t stride = 1) {
  static_assert(std::is_floating_point_v<T>, "scale gives T: write 1.0, not 1");
  check_attention(q64, k64, v64, dout64, shape);
  const auto [B, Sq, Sk, H, K, Dqk, Dv] = shape;
  const std::vector<T> q = converted<T>(q64), k = converted<T>(k64), v = converted<T>(v64), dout = converted<T>(dout64);
  AttentionResult<T> r{.out = std::vector<T>(dout.size()),
                       .lse = std::vector<T>(static_cast<size_t>(B * H * Sq)),
                       .dq = std::vector<T>(q.size()),
                       .dk = std::vector<T>(k.size()),
                       .dv = std::vector<T>(v.size())};
  std::vector<T> score;
  std::vector<int64_t> queries(static_cast<size_t>(Sq));
  std::iota(queries.begin(), queries.end(), 0);
  for (const int64_t i : in_strides(queries, stride)) {
    const std::vector<int64_t> keys = in_strides(visible_keys(slices, i, Sk), stride);
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t h = 0; h < H; ++h) {
        const int64_t query = (b * Sq + i) * H + h;      // row of q and out, in heads' vectors
        const int64_t key_0 = b * Sk * K + h / (H / K);  // row of key 0 in k and v
        const AttentionRow<T> row{.Dqk = Dqk,
                                  .Dv = Dv,
                                  .k_stride = K * Dqk,
                                  .v_stride = K * Dv,
                                  .scale = scale,
                                  .q = q.data() + query * Dqk,
                                  .k = k.data() + key_0 * Dqk,
                                  .v = v.data() + key_0 * Dv,
                                  .dout = dout.data() + query * Dv,
                                  .out = r.out.data() + query * Dv,
                                  .lse = r.lse.data() + (b * H + h) * Sq + i,
                                  .dq = r.dq.data() + query * Dqk,
                                  .dk = r.dk.data() + key_0 * Dqk,
                                  .dv = r.dv.data() + key_0 * Dv};
        attention_row_forward(row, keys, score);
        attention_row_backward(row, keys, score);
      }
    }
  }
  return r;
}

}  // namespace oracle
