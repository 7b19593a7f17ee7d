// The attention kernel of every instruction set at the edges of f32, beside the fp64 oracle.
#include "tests/support/adversarial_attention.h"

#include <gtest/gtest.h>

#include "kernels/cpu/isa.h"
#include "tests/support/attention_visits.h"

namespace annulus::test {
namespace {

class AdversarialAttention : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { cpu::choose_isa(GetParam()); }
};

TEST_P(AdversarialAttention, EqualsOracleInOneVisitAndInMany) {
  static const std::vector<NamedCase> cases = adversarial_cases();  // solved once for all instruction sets
  for (const auto& [name, c] : cases) {
    const int64_t S = c.shape.Sq;
    const Segments whole = {{0, S, 1}};
    expect_exact(attend(c, whole, {whole}), c, name + ", one visit");
    expect_exact(attend(c, whole, {{{0, 45, 1}}, {{45, 45, 1}}, {{90, S - 90, 1}}}), c, name + ", forward");
    expect_exact(attend(c, whole, {{{90, S - 90, 1}}, {{0, 90, 1}}}), c, name + ", backward");
    expect_exact(attend(c, {{1, S / 2, 2}, {0, S - S / 2, 2}}, {{{0, S - S / 2, 2}}, {{1, S / 2, 2}}}), c,
                 name + ", striped");
  }
}

// Subnormal numbers are left out: products of bf16 take them for 0.
TEST_P(AdversarialAttention, EqualsOracleInBf16) {
  static const std::vector<NamedCase> cases = [] {
    std::vector<NamedCase> found;
    for (NamedCase& each : adversarial_cases()) {
      AttentionCase& c = each.problem;
      double smallest = HUGE_VAL;
      for (auto* x : {&c.q, &c.k, &c.v, &c.dout}) {
        *x = rounded_to(Dtype::kBf16, *x);
        for (const double value : *x)
          if (value != 0) smallest = std::min(smallest, std::abs(value));
      }
      if (smallest < 1e-12) continue;
      c.dtype = Dtype::kBf16;
      solve(c);
      found.push_back(each);
    }
    return found;
  }();
  ASSERT_GE(cases.size(), 10u);
  for (const auto& [name, c] : cases) {
    const int64_t S = c.shape.Sq;
    expect_exact(attend(c, {{0, S, 1}}, {{{0, 45, 1}}, {{45, 45, 1}}, {{90, S - 90, 1}}}), c, name);
  }
}

// All keys alike give uniform weights, whatever the size of the scores: out, dv and, scaled back, dq and dk are as
// exact as those of small scores, though the scores are known to no more than seven digits themselves.
TEST_P(AdversarialAttention, WeightsOfIdenticalKeysAreExactHoweverLargeTheScores) {
  using namespace detail;
  AttentionCase small = ordinary();
  fill(small.q, kWidth, [](int64_t i, int64_t d) { return 1.0 + 0.125 * static_cast<double>((i + d) % 5); });
  fill(small.k, kWidth, [](int64_t, int64_t) { return 1.0; });
  solve(small);
  for (const double size : {0x1p6, 0x1p10, 0x1p20, 0x1p40}) {
    AttentionCase large = small;
    multiply(large.q, size), multiply(large.k, size);
    const Segments whole = {{0, kTokens, 1}};
    AttentionAnswer got = attend(large, whole, {{{60, kTokens - 60, 1}}, {{0, 60, 1}}});
    multiply(got.dq, 1 / size), multiply(got.dk, 1 / size);
    got.lse = small.exact.lse;
    expect_exact(got, small, "identical keys of " + std::to_string(size));
  }
}

// Rows below `first` do not see the key that overflows and must be as exact as without it; all others must not be
// finite.
void expect_overflow_shows(const AttentionCase& without, int64_t first, const AttentionAnswer& got,
                           const std::string& what) {
  const double limit = twice_error_of(without.plain[0].out, without.exact.out, without.magnitudes.out).absolute;
  for (size_t i = 0; i < got.out.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i) / (without.shape.H * without.shape.Dv);
    if (row < first) {
      ASSERT_NEAR(got.out[i], without.exact.out[i], limit) << what << " row " << row;
    } else {
      ASSERT_FALSE(std::isfinite(got.out[i])) << what << " row " << row;
    }
  }
  for (size_t i = 0; i < got.lse.size(); ++i) {
    const bool overflows = static_cast<int64_t>(i) % without.shape.Sq >= first;
    ASSERT_EQ(std::isnan(got.lse[i]), overflows) << what;
  }
}

// A score that is minus infinity only because f32 ends must not pass for a masked one, nor its row for one that sees
// nothing.
TEST_P(AdversarialAttention, ScoresThatOverflowNeverPassForNumbers) {
  using namespace detail;
  constexpr int64_t kKey = 90;
  const Segments whole = {{0, kTokens, 1}};
  const std::vector<std::vector<Segments>> visits = {{whole}, {{{0, 64, 1}}, {{64, kTokens - 64, 1}}}};
  AttentionCase without = ordinary();
  for (double& x : without.q) x = 4.0 + std::abs(x);
  solve(without);
  for (const double end : {1.0, -1.0})
    for (const auto& keys : visits) {
      const std::string what = concat(end < 0 ? "minus infinity, " : "infinity, ", keys.size(), " visits");
      AttentionCase one = without, all = without;
      for (int64_t d = 0; d < kWidth; ++d) one.k[static_cast<size_t>(kKey * kWidth + d)] = 3e38f * end;
      for (double& x : all.k) x = 3e38f * end;
      expect_overflow_shows(without, kKey, attend(one, whole, keys), "one score of " + what);
      expect_overflow_shows(without, 0, attend(all, whole, keys), "all scores of " + what);
    }
}

INSTANTIATE_TEST_SUITE_P(Isa, AdversarialAttention, testing::ValuesIn(cpu::supported_isas()),
                         [](const auto& isa) { return isa.param; });

}  // namespace
}  // namespace annulus::test
