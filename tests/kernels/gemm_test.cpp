// Matrix products beside the fp64 oracle, on every instruction set, at odd sizes.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/gemm.h"
#include "tests/support/buffer.h"
#include "tests/support/close.h"
#include "tests/support/random.h"

namespace annulus::test {
namespace {

// c (+)= op(a) op(b): a dot product of length K may err by K u sum |a b|, also of bf16, whose products f32 holds
// exactly.
void expect_product(int64_t M, int64_t N, int64_t K, bool ta, bool tb, Dtype operands, Dtype result, bool accumulate) {
  const auto a = rounded_to(operands, random_normal(M * K, 22)), b = rounded_to(operands, random_normal(K * N, 23));
  const auto before = random_normal(M * N, 24);
  const Buffer ab(ta ? Shape{K, M} : Shape{M, K}, a, operands), bb(tb ? Shape{N, K} : Shape{K, N}, b, operands);
  const Buffer c({M, N}, before, result);
  Arena scratch("scratch");
  const Transpose tra = ta ? Transpose::kYes : Transpose::kNo, trb = tb ? Transpose::kYes : Transpose::kNo;
  const Write write = accumulate ? Write::kAdd : Write::kReplace;
  const TensorView shape_only(nullptr, result, {M, N}, Device::kShape);
  gemm(shape_only, ab.view(), tra, bb.view(), trb, write, scratch);
  scratch.commit();
  gemm(c.view(), ab.view(), tra, bb.view(), trb, write, scratch);
  const auto got = c.doubles();
  double worst = 0.0;  // error over its limit
  for (int64_t i = 0; i < M; ++i)
    for (int64_t j = 0; j < N; ++j) {
      double exact = accumulate ? before[static_cast<size_t>(i * N + j)] : 0.0, terms = std::abs(exact);
      for (int64_t k = 0; k < K; ++k) {
        const double product =
            a[static_cast<size_t>(ta ? k * M + i : i * K + k)] * b[static_cast<size_t>(tb ? j * K + k : k * N + j)];
        exact += product;
        terms += std::abs(product);
      }
      Tolerance limit = {static_cast<double>(K + 1) * kUnitRoundoff * terms};
      if (result == Dtype::kBf16) limit = rounded_to_bf16(limit);
      const double error = std::abs(got[static_cast<size_t>(i * N + j)] - exact);
      worst = std::max(worst, error / (limit.absolute + limit.relative * std::abs(exact)));
    }
  EXPECT_LE(worst, 1.0) << M << " x " << N << " x " << K << " transpose " << ta << tb << " add " << accumulate << " "
                        << name_of(operands) << " to " << name_of(result);
}

void expect_products(int64_t M, int64_t N, int64_t K) {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      for (const Dtype operands : {Dtype::kF32, Dtype::kBf16})
        for (const bool accumulate : {false, true}) expect_product(M, N, K, ta, tb, operands, Dtype::kF32, accumulate);
      expect_product(M, N, K, ta, tb, Dtype::kBf16, Dtype::kBf16, false);
    }
}

class Products : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { cpu::choose_isa(GetParam()); }
};

TEST_P(Products, EqualOracleForEveryTranspositionAndDtype) {
  for (const auto& [M, N, K] : {std::array<int64_t, 3>{1, 1, 1}, {5, 7, 3}, {33, 40, 65}, {64, 17, 128}})
    expect_products(M, N, K);
}

// Longer in every direction than the tiles in which bf16 operands are widened.
TEST_P(Products, OfSeveralTilesEqualOracle) {
  for (const auto& [M, N, K] : {std::array<int64_t, 3>{515, 5, 3}, {3, 515, 7}, {5, 3, 1027}}) expect_products(M, N, K);
}

INSTANTIATE_TEST_SUITE_P(Isa, Products, testing::ValuesIn(cpu::supported_isas()),
                         [](const auto& isa) { return isa.param; });

TEST(Gemm, NothingTimesNothingIsZero) {
  for (const Dtype dtype : {Dtype::kF32, Dtype::kBf16}) {
    const Buffer c({2, 3}, 7.0f, dtype), sum({2, 3}, 7.0f), a({2, 0}, 0.0f, dtype), b({0, 3}, 0.0f, dtype);
    Arena scratch("scratch");
    gemm(sum.view(), a.view(), Transpose::kNo, b.view(), Transpose::kNo, Write::kAdd, scratch);
    EXPECT_EQ(sum.doubles()[5], 7.0);
    gemm(c.view(), a.view(), Transpose::kNo, b.view(), Transpose::kNo, Write::kReplace, scratch);
    EXPECT_EQ(c.doubles()[5], 0.0);
  }
}

}  // namespace
}  // namespace annulus::test
