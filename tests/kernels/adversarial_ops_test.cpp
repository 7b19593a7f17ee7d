// Every op but attention at the edges of f32: huge, tiny and equal numbers beside the fp64 oracle, and overflow that
// must show. That numbers below the normal ones are not flushed to 0, in any thread, is what the small ones rest on.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/isa.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "tests/support/buffer.h"
#include "tests/support/scratch.h"
#include "tests/support/update_cases.h"

namespace annulus::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class AdversarialOps : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { cpu::choose_isa(GetParam()); }
};

struct NormResult {
  std::vector<double> y, dx, dgain;
};

NormResult rms_norm(const NormCase& given, const std::vector<double>& x_values) {
  const int64_t N = given.N, C = given.C;
  const Buffer x({N, C}, x_values), gain({C}, given.gain), dy({N, C}, given.dy), residual({N, C}, given.residual),
      y({N, C}), rstd({N}), dx({N, C}), dgain({C}, given.dgain_before);
  rms_norm_forward(y.view(), rstd.view(), x.view(), gain.view(), 1e-5f);
  Scratch scratch;
  rms_norm_backward(dx.view(), dgain.view(), dy.view(), x.view(), rstd.view(), gain.view(), residual.view(), scratch);
  return {y.doubles(), dx.doubles(), dgain.doubles()};
}

// y of a row does not change when the row is multiplied by a power of two, and dx is divided by it: so huge rows, whose
// squares a plain loop in f32 cannot sum, have the limits of ordinary ones.
TEST_P(AdversarialOps, RmsNormOfHugeRowsIsThatOfOrdinaryOnes) {
  for (const int64_t C : {1, 40, 129}) {
    const NormCase given = NormCase(3, C, Dtype::kF32, /*eps=*/0.0).alone();
    for (const double size : kHugeRows) {
      const NormResult got = rms_norm(given, times(given.x, size));
      const std::string what = " times " + std::to_string(size);
      given.expect_y(got.y, what);
      given.expect_gradients(times(got.dx, size), got.dgain, what);
    }
  }
}

TEST_P(AdversarialOps, RmsNormOfTinyRowsIsHeldByEpsilon) {
  NormCase given = NormCase(3, 129, Dtype::kF32).alone();
  const auto ordinary = given.x;
  for (const double size : kTinyRows) {
    given.x = times(ordinary, size);
    const NormResult got = rms_norm(given, given.x);
    const std::string what = " times " + std::to_string(size);
    given.expect_y(got.y, what);
    given.expect_gradients(got.dx, got.dgain, what);
  }
}

TEST_P(AdversarialOps, CrossEntropyOfHugeEqualAndTinyLogits) {
  for (const CrossEntropyCase& given : huge_equal_and_tiny_logits()) {
    std::vector<int32_t> labels(given.labels.begin(), given.labels.end());
    const Buffer z({given.N, given.V}, given.logits), loss({given.N});
    cross_entropy(loss.view(), z.view(), z.view(), TensorView(labels.data(), Dtype::kI32, {given.N}),
                  LossGradient::kYes, static_cast<float>(given.scale));
    given.expect_losses(loss.doubles());
    given.expect_dlogits(z.doubles());
  }
}

TEST_P(AdversarialOps, LogitsThatOverflowNeverPassForNumbers) {
  for (const float logit : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()})
    for (const bool everywhere : {true, false}) {
      const Buffer z({1, 19}, everywhere ? logit : 1.0f), loss({1});
      z.data()[3] = logit;
      std::vector<int32_t> label = {3};
      cross_entropy(loss.view(), z.view(), z.view(), TensorView(label.data(), Dtype::kI32, {1}), LossGradient::kNo,
                    0.0f);
      EXPECT_FALSE(std::isfinite(loss.data()[0])) << logit << " everywhere " << everywhere;
    }
}

TEST_P(AdversarialOps, SwigluOfHugeAndTinyGates) {
  for (const SwigluCase& given : huge_and_tiny_gates()) {
    const int64_t F = given.F;
    const Buffer gate_up({1, 2 * F}, given.gate_up()), dy({1, F}, given.dy), out({1, F}), dgate_up({1, 2 * F});
    swiglu_forward(out.view(), gate_up.view());
    swiglu_backward(dgate_up.view(), dy.view(), gate_up.view());
    given.expect_y(out.doubles());
    given.expect_dgate_up(dgate_up.doubles());
  }
  const Buffer huge({1, 2}, std::vector<double>{1e30, 1e30}), y({1, 1});
  swiglu_forward(y.view(), huge.view());
  EXPECT_EQ(y.data()[0], kInfinity);
}

// position * frequency is a double: its two roundings and that of the frequency are an angle of up to position * 2^-51.
TEST_P(AdversarialOps, RopeAtPositionsOfBillions) {
  const std::vector<int64_t> positions = {(int64_t{1} << 31) - 1, int64_t{1} << 31, (int64_t{1} << 32) + 1, 1'000'003};
  const auto T = static_cast<int64_t>(positions.size());
  const int64_t H = 2, D = 40;
  for (const double size : {1.0, 1e30, 1e-40}) {
    const auto x = times(random_normal(T * H * D, 7), size);
    const Buffer cosine({T, D / 2}), sine({T, D / 2}), xb({1, T, H, D}, x);
    rope_angles(cosine.view(), sine.view(), positions, 10000.0);
    rope_forward(xb.view(), cosine.view(), sine.view());
    const auto exact = oracle::rope_forward<double>(x, positions, H, D, 10000.0);
    const auto plain = oracle::rope_forward<float>(x, positions, H, D, 10000.0);
    double largest = 0.0;
    for (const double value : x) largest = std::max(largest, std::abs(value));
    const double angle = 0x1p-51 * static_cast<double>(positions[2]);
    expect_close(xb.doubles(), exact, {twice_error_of(plain, exact).absolute + 2 * angle * largest}, "rope");
  }
}

TEST_P(AdversarialOps, SumsOfSquaresThatOverflowShow) {
  for (const float x : {1e20f, kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    const Buffer one({40001}, 0.5f);
    one.data()[40000] = x;
    EXPECT_FALSE(std::isfinite(sum_of_squares(one.view()))) << x;
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, AdversarialOps, testing::ValuesIn(cpu::supported_isas()),
                         [](const auto& isa) { return isa.param; });

// A product of K terms below the normal numbers: K + 1 roundings to multiples of 2^-149.
TEST(Subnormals, AreNotFlushedByMatrixProductsNorInAnyThread) {
  const int64_t M = 33, N = 40, K = 65;
  const Buffer a({M, K}, 1e-20f), b({K, N}, 1e-20f), c({M, N});
  Arena scratch("scratch");
  gemm(TensorView(nullptr, Dtype::kF32, {M, N}, Device::kShape), a.view(), Transpose::kNo, b.view(), Transpose::kNo,
       Write::kReplace, scratch);
  scratch.commit();
  gemm(c.view(), a.view(), Transpose::kNo, b.view(), Transpose::kNo, Write::kReplace, scratch);
  const double factor = 1e-20f, exact = static_cast<double>(K) * factor * factor;
  for (const double x : c.doubles()) ASSERT_NEAR(x, exact, static_cast<double>(K + 1) * 0x1p-150);
  int flushed = 0;
#pragma omp parallel reduction(+ : flushed)
  {
    volatile float smallest_normal = 0x1p-126f, subnormal = 0x1p-149f;
    if (smallest_normal * 0.5f == 0.0f) ++flushed;  // results flushed to 0
    if (subnormal * 0x1p100f == 0.0f) ++flushed;    // inputs taken for 0
  }
  EXPECT_EQ(flushed, 0);
}

}  // namespace
}  // namespace annulus::test
