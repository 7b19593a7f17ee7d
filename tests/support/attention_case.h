#pragma once
// One attention problem: random inputs, the exact answer, and the error limit of each tensor.
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention_tiles.h"
#include "tests/oracle/attention.h"
#include "tests/oracle/attention_bf16.h"
#include "tests/oracle/attention_magnitudes.h"
#include "tests/support/close.h"
#include "tests/support/masks.h"
#include "tests/support/random.h"

namespace annulus::test {

struct AttentionCase {
  oracle::AttentionShape shape;
  Dtype dtype = Dtype::kF32;  // of q, k, v, dout, which it holds exactly, and of out
  Mask mask;
  double scale;
  std::vector<double> q, k, v, dout;
  oracle::AttentionResult<double> exact, magnitudes;
  std::vector<oracle::AttentionResult<float>> plain;  // in each order of summation that is allowed for
  oracle::AttentionResult<double> bf16_rounding;      // of dtype bf16 only
};

/// Fills exact, plain and magnitudes from the inputs. `strides`: the orders in which a plain loop takes keys and
/// queries. 1 will do where sums are of random numbers; where neighbours cancel, a ring that takes every second token
/// first cannot be as exact as a loop that takes them in pairs, so that its order has to be among them.
inline void solve(AttentionCase& c, const std::vector<int64_t>& strides = {1}) {
  const auto slices = oracle_slices(c.mask);
  c.exact = oracle::attention<double>(c.q, c.k, c.v, c.dout, c.shape, slices, c.scale);
  c.plain.clear();
  for (const int64_t stride : strides)
    c.plain.push_back(
        oracle::attention<float>(c.q, c.k, c.v, c.dout, c.shape, slices, static_cast<float>(c.scale), stride));
  c.magnitudes = oracle::attention_magnitudes(c.q, c.k, c.v, c.dout, c.shape, slices, c.scale, c.exact);
  if (c.dtype == Dtype::kBf16)
    c.bf16_rounding = oracle::bf16_rounding(c.q, c.k, c.v, c.dout, c.shape, slices, c.scale, c.exact);
}

/// Inputs only: nothing is solved.
inline AttentionCase random_attention_case(const oracle::AttentionShape& n, const Mask& mask, uint64_t seed,
                                           Dtype dtype = Dtype::kF32) {
  AttentionCase c;
  c.shape = n;
  c.dtype = dtype;
  c.mask = mask;
  c.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(n.Dqk)));
  c.q = rounded_to(dtype, random_normal(n.B * n.Sq * n.H * n.Dqk, seed));
  c.k = rounded_to(dtype, random_normal(n.B * n.Sk * n.K * n.Dqk, seed + 1));
  c.v = rounded_to(dtype, random_normal(n.B * n.Sk * n.K * n.Dv, seed + 2));
  c.dout = rounded_to(dtype, random_normal(n.B * n.Sq * n.H * n.Dv, seed + 3));
  return c;
}

inline AttentionCase make_attention_case(const oracle::AttentionShape& n, const Mask& mask, uint64_t seed,
                                         Dtype dtype = Dtype::kF32) {
  AttentionCase c = random_attention_case(n, mask, seed, dtype);
  solve(c);
  return c;
}

/// What an implementation gave, in global token order.
struct AttentionAnswer {
  std::vector<double> out, lse, dq, dk, dv;
};

/// `gradients`: what they were rounded to in the end.
inline void expect_exact(const AttentionAnswer& got, const AttentionCase& c, const std::string& what,
                         Dtype gradients = Dtype::kF32) {
  auto expect = [&](const std::string& name, std::vector<double> AttentionAnswer::*answer,
                    std::vector<double> oracle::AttentionResult<double>::*exact,
                    std::vector<float> oracle::AttentionResult<float>::*plain) {
    Tolerance limit = {0.0, 0.0};
    for (const auto& loop : c.plain)
      limit.absolute =
          std::max(limit.absolute, twice_error_of(loop.*plain, c.exact.*exact, c.magnitudes.*exact).absolute);
    if (c.dtype == Dtype::kBf16) {
      const std::vector<double>& rounding = c.bf16_rounding.*exact;
      limit.absolute += *std::max_element(rounding.begin(), rounding.end());
      if (gradients == Dtype::kBf16 && name[0] == 'd') limit = rounded_to_bf16(limit);
    }
    expect_close(got.*answer, c.exact.*exact, limit, what + " " + name);
  };
  using Answer = AttentionAnswer;
  using Exact = oracle::AttentionResult<double>;
  using Plain = oracle::AttentionResult<float>;
  expect("out", &Answer::out, &Exact::out, &Plain::out);
  expect("lse", &Answer::lse, &Exact::lse, &Plain::lse);
  expect("dq", &Answer::dq, &Exact::dq, &Plain::dq);
  expect("dk", &Answer::dk, &Exact::dk, &Plain::dk);
  expect("dv", &Answer::dv, &Exact::dv, &Plain::dv);
}

}  // namespace annulus::test
