// The attention kernel of every instruction set beside the fp64 oracle, with the state carried over several visits.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include "kernels/cpu/isa.h"
#include "tests/support/attention_visits.h"

namespace annulus::test {
namespace {

class Attention : public testing::TestWithParam<std::tuple<std::string, Dtype>> {
 protected:
  void SetUp() override { cpu::choose_isa(std::get<0>(GetParam())); }
  Dtype dtype() const { return std::get<1>(GetParam()); }
};

TEST_P(Attention, EqualsOracleForEveryMaskInOneVisit) {
  for (const int64_t S : {1, 7, 64, 67, 203})
    for (const NamedMask& m : masks_for(S)) {
      const AttentionCase c = make_attention_case({2, S, S, 4, 2, 16, 16}, m.mask, 7, dtype());
      expect_exact(attend(c, {{0, S, 1}}, {{{0, S, 1}}}), c, m.name + " S " + std::to_string(S));
    }
}

TEST_P(Attention, EqualsOracleForEveryHeadLayoutAndWidth) {
  for (const auto& [H, K] : {std::pair{3, 3}, {6, 2}, {5, 1}})
    for (const auto& [Dqk, Dv] : {std::pair{8, 8}, {24, 40}, {64, 64}, {128, 72}, {256, 256}}) {
      const int64_t S = 77;
      const AttentionCase c = make_attention_case({1, S, S, H, K, Dqk, Dv}, causal_mask(S, S), 11, dtype());
      expect_exact(attend(c, {{0, S, 1}}, {{{0, S, 1}}}), c,
                   "H " + std::to_string(H) + " K " + std::to_string(K) + " D " + std::to_string(Dqk));
    }
}

TEST_P(Attention, CarriesItsStateOverVisitsOfStridedAndSplitSegments) {
  const int64_t S = 205;
  const Segments strided = {{0, 69, 3}, {1, 68, 3}, {2, 68, 3}};
  for (const NamedMask& m : masks_for(S)) {
    const AttentionCase c = make_attention_case({1, S, S, 2, 1, 32, 24}, m.mask, 3, dtype());
    expect_exact(attend(c, {{0, 100, 1}, {100, 105, 1}}, {{{30, 100, 1}}, {{0, 30, 1}, {130, 75, 1}}}), c,
                 m.name + " split");
    expect_exact(attend(c, strided, {{strided[1]}, {strided[0]}, {strided[2]}}), c, m.name + " strided");
  }
}

TEST_P(Attention, CrossAttentionHasItsOwnNumberOfKeys) {
  for (const auto& [Sq, Sk] : {std::pair{33, 150}, {150, 33}, {5, 1}}) {
    const AttentionCase c = make_attention_case({2, Sq, Sk, 4, 2, 16, 8}, causal_mask(Sq, Sk), 5, dtype());
    expect_exact(attend(c, {{0, Sq, 1}}, {{{0, Sk / 2, 1}}, {{Sk / 2, Sk - Sk / 2, 1}}}), c, "cross");
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Attention,
                         testing::Combine(testing::ValuesIn(cpu::supported_isas()),
                                          testing::Values(Dtype::kF32, Dtype::kBf16)),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" + name_of(std::get<1>(test.param));
                         });

TEST(AttentionDeath, UnsupportedShapesAreRefusedByName) {
  auto message = [](const AttentionDims& dims) {
    try {
      require_supported(dims, "attention");
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message({1, 4, 4, 4, 2, 64, 64}), "");
  EXPECT_NE(message({1, 4, 4, 4, 3, 64, 64}).find("4 query heads are not a multiple of 3"), std::string::npos);
  EXPECT_NE(message({1, 4, 4, 4, 2, 20, 64}).find("for example 24"), std::string::npos);
  EXPECT_NE(message({1, 4, 4, 4, 2, 64, 264}).find("for example 256"), std::string::npos);
}

}  // namespace
}  // namespace annulus::test
