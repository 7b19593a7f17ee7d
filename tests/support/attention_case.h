#pragma once
// One attention problem: random inputs, the exact answer, and the error limit of each tensor.
#include <array>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/attention_tiles.h"
#include "tests/oracle/attention.h"
#include "tests/oracle/attention_magnitudes.h"
#include "tests/support/close.h"
#include "tests/support/masks.h"
#include "tests/support/random.h"

namespace annulus::test {

struct AttentionCase {
  oracle::AttentionShape shape;
  Mask mask;
  double scale;
  std::vector<double> q, k, v, dout;
  oracle::AttentionResult<double> exact, magnitudes;
  oracle::AttentionResult<float> plain;
};

/// Fills exact, plain and magnitudes from the inputs.
inline void solve(AttentionCase& c) {
  const auto slices = oracle_slices(c.mask);
  c.exact = oracle::attention<double>(c.q, c.k, c.v, c.dout, c.shape, slices, c.scale);
  c.plain = oracle::attention<float>(c.q, c.k, c.v, c.dout, c.shape, slices, static_cast<float>(c.scale));
  c.magnitudes = oracle::attention_magnitudes(c.q, c.k, c.v, c.dout, c.shape, slices, c.scale, c.exact);
}

inline AttentionCase make_attention_case(const oracle::AttentionShape& n, const Mask& mask, uint64_t seed,
                                         double spread = 1.0) {
  AttentionCase c;
  c.shape = n;
  c.mask = mask;
  c.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(n.Dqk)));
  c.q = random_normal(n.B * n.Sq * n.H * n.Dqk, seed, spread);
  c.k = random_normal(n.B * n.Sk * n.K * n.Dqk, seed + 1, spread);
  c.v = random_normal(n.B * n.Sk * n.K * n.Dv, seed + 2);
  c.dout = random_normal(n.B * n.Sq * n.H * n.Dv, seed + 3);
  solve(c);
  return c;
}

/// What an implementation gave, in global token order.
struct AttentionAnswer {
  std::vector<double> out, lse, dq, dk, dv;
};

inline void expect_exact(const AttentionAnswer& got, const AttentionCase& c, const std::string& what) {
  const auto& [exact, plain, size] = std::tie(c.exact, c.plain, c.magnitudes);
  expect_close(got.out, exact.out, twice_error_of(plain.out, exact.out, size.out), what + " out");
  expect_close(got.lse, exact.lse, twice_error_of(plain.lse, exact.lse, size.lse), what + " lse");
  expect_close(got.dq, exact.dq, twice_error_of(plain.dq, exact.dq, size.dq), what + " dq");
  expect_close(got.dk, exact.dk, twice_error_of(plain.dk, exact.dk, size.dk), what + " dk");
  expect_close(got.dv, exact.dv, twice_error_of(plain.dv, exact.dv, size.dv), what + " dv");
}

}  // namespace annulus::test
