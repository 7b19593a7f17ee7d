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
#include "tests/oracle/layers.h"
#include "tests/support/buffer.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/scratch.h"

namespace annulus::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class AdversarialOps : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { cpu::choose_isa(GetParam()); }
};

std::vector<double> times(std::vector<double> x, double factor) {
  for (double& value : x) value = static_cast<float>(value * factor);
  return x;
}

struct NormResult {
  std::vector<double> y, dx, dgain;
};

NormResult rms_norm(const std::vector<double>& x, const std::vector<double>& gain, const std::vector<double>& dy,
                    double epsilon) {
  const auto C = static_cast<int64_t>(gain.size()), N = static_cast<int64_t>(x.size()) / C;
  const Buffer xb({N, C}, x), gb({C}, gain), dyb({N, C}, dy), y({N, C}), rstd({N}), dx({N, C}), dgain({C}, 0.0f),
      zero({N, C}, 0.0f);
  rms_norm_forward(y.view(), rstd.view(), xb.view(), gb.view(), static_cast<float>(epsilon));
  Scratch scratch;
  rms_norm_backward(dx.view(), dgain.view(), dyb.view(), xb.view(), rstd.view(), gb.view(), zero.view(), scratch);
  return {y.doubles(), dx.doubles(), dgain.doubles()};
}

// y of a row does not change when the row is multiplied by a power of two, and dx is divided by it: so huge rows, whose
// squares a plain loop in f32 cannot sum, have the limits of ordinary ones.
TEST_P(AdversarialOps, RmsNormOfHugeRowsIsThatOfOrdinaryOnes) {
  for (const int64_t C : {1, 40, 129}) {
    const int64_t N = 3;
    const auto x = random_normal(N * C, 1), gain = random_normal(C, 2), dy = random_normal(N * C, 3);
    const auto exact = oracle::rms_norm_forward<double>(x, gain, 0.0);
    const auto plain = oracle::rms_norm_forward<float>(x, gain, 0.0);
    const auto exact_back = oracle::rms_norm_backward<double>(x, gain, dy, 0.0);
    const auto plain_back = oracle::rms_norm_backward<float>(x, gain, dy, 0.0);
    std::vector<double> terms(x.size()), column_terms(gain.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t c = i % gain.size();
      const double rstd = exact.rstd[i / gain.size()];
      terms[i] = 4 * std::abs(dy[i] * gain[c] * rstd);
      column_terms[c] += std::abs(dy[i] * x[i] * rstd);
    }
    for (const double size : {0x1p40, 0x1p64, 0x1p100, 0x1p120}) {
      const NormResult got = rms_norm(times(x, size), gain, dy, 1e-5);
      const std::string what = "rms_norm of " + std::to_string(size);
      expect_close(got.y, exact.y, twice_error_of(plain.y, exact.y), what + " y");
      expect_close(times(got.dx, size), exact_back.dx, twice_error_of(plain_back.dx, exact_back.dx, terms),
                   what + " dx");
      expect_close(got.dgain, exact_back.dgain, twice_error_of(plain_back.dgain, exact_back.dgain, column_terms),
                   what + " dgain");
    }
  }
}

TEST_P(AdversarialOps, RmsNormOfTinyRowsIsHeldByEpsilon) {
  const int64_t C = 129, N = 3;
  const double epsilon = 1e-5f;
  const auto ordinary = random_normal(N * C, 1), gain = random_normal(C, 2), dy = random_normal(N * C, 3);
  for (const double size : {0.0, 0x1p-149, 1e-40, 1e-20}) {
    const auto x = times(ordinary, size);
    const auto exact = oracle::rms_norm_forward<double>(x, gain, epsilon);
    const auto exact_back = oracle::rms_norm_backward<double>(x, gain, dy, epsilon);
    const auto plain_back = oracle::rms_norm_backward<float>(x, gain, dy, epsilon);
    std::vector<double> terms(x.size());
    for (size_t i = 0; i < x.size(); ++i) terms[i] = 4 * std::abs(dy[i] * gain[i % gain.size()] * exact.rstd[0]);
    const NormResult got = rms_norm(x, gain, dy, epsilon);
    const std::string what = "rms_norm of " + std::to_string(size);
    expect_close(got.y, exact.y, twice_error_of(oracle::rms_norm_forward<float>(x, gain, epsilon).y, exact.y), what);
    expect_close(got.dx, exact_back.dx, twice_error_of(plain_back.dx, exact_back.dx, terms), what + " dx");
    expect_close(got.dgain, exact_back.dgain, twice_error_of(plain_back.dgain, exact_back.dgain), what + " dgain");
  }
}

// The loss of a row is of the size of its logits; a weight moves by its own rounding and that of its logit.
TEST_P(AdversarialOps, CrossEntropyOfHugeEqualAndTinyLogits) {
  const int64_t N = 4, V = 37;
  const std::vector<int64_t> labels = {0, 5, V - 1, 17};
  std::vector<int32_t> labels32(labels.begin(), labels.end());
  std::vector<double> alternating, equal(static_cast<size_t>(N * V), 1e4), one_high(equal.size(), -1e4);
  for (int64_t i = 0; i < N * V; ++i) alternating.push_back(i % 2 == 0 ? 1e4 : -1e4);
  for (int64_t n = 0; n < N; ++n) one_high[static_cast<size_t>(n * V + 5)] = 1e4;
  const auto random = random_normal(N * V, 4);
  const std::vector<std::pair<std::string, std::vector<double>>> all = {{"alternating", alternating},
                                                                        {"equal", equal},
                                                                        {"one high", one_high},
                                                                        {"of 1e4", times(random, 1e4)},
                                                                        {"of 1e30", times(random, 1e30)},
                                                                        {"subnormal", times(random, 1e-40)},
                                                                        {"near underflow", times(random, 60)},
                                                                        {"zero", times(random, 0.0)}};
  for (const auto& [name, logits] : all) {
    const auto exact = oracle::cross_entropy<double>(logits, labels, V, 0.25);
    const auto plain = oracle::cross_entropy<float>(logits, labels, V, 0.25);
    const Buffer z({N, V}, logits), loss({N});
    cross_entropy(loss.view(), z.view(), z.view(), TensorView(labels32.data(), Dtype::kI32, {N}), LossGradient::kYes,
                  0.25f);
    double sum = 0.0, terms = 0.0;
    for (const double l : loss.doubles()) sum += l;
    for (const double logit : logits) terms = std::max(terms, 1.0 + std::abs(logit));
    expect_close({sum}, {exact.loss_sum},
                 twice_error_of(std::vector<float>{plain.loss_sum}, {exact.loss_sum}, {static_cast<double>(N) * terms}),
                 "cross entropy, logits " + name);
    // Of logits so large that rounding one moves it by more than 1, a weight may be anything from 0 to 1.
    std::vector<double> gradient_terms(logits.size(), 0.25 * std::min(terms, 1 / kUnitRoundoff));
    expect_close(z.doubles(), exact.dlogits, twice_error_of(plain.dlogits, exact.dlogits, gradient_terms),
                 "dlogits, logits " + name);
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
  const int64_t F = 83;
  std::vector<double> slope, up(static_cast<size_t>(F), 1e4), dy = random_normal(F, 6);
  for (int64_t f = 0; f < F; ++f) slope.push_back(static_cast<float>(-110.0 + 0.5 * static_cast<double>(f)));
  const auto random = random_normal(F, 5);
  auto negative = random;
  for (double& g : negative) g = -std::abs(g);
  const std::vector<std::pair<std::string, std::vector<double>>> all = {{"+-1e4", times(random, 1e4)},
                                                                        {"-1e4", std::vector<double>(up.size(), -1e4)},
                                                                        {"1e4", up},
                                                                        {"-110 to -69", slope},
                                                                        {"-1e30", times(negative, 1e30)},
                                                                        {"1e30", times(random, 1e30)},
                                                                        {"subnormal", times(random, 1e-40)},
                                                                        {"0", times(random, 0.0)}};
  for (const auto& [name, gate] : all) {
    std::vector<double> both = gate;
    both.insert(both.end(), up.begin(), up.end());
    const Buffer gate_up({1, 2 * F}, both), dyb({1, F}, dy), y({1, F}), dgate_up({1, 2 * F});
    swiglu_forward(y.view(), gate_up.view());
    swiglu_backward(dgate_up.view(), dyb.view(), gate_up.view());
    const auto exact = oracle::swiglu_forward<double>(gate, up);
    const auto exact_back = oracle::swiglu_backward<double>(gate, up, dy);
    const auto plain_back = oracle::swiglu_backward<float>(gate, up, dy);
    const auto d = dgate_up.doubles();
    // The exponential rounds its exponent, which moves the result by as many roundings as the gate is large; beyond 89
    // it is 0 or infinite.
    auto limit = [&, &gate = gate](const std::vector<float>& loop, const std::vector<double>& result) {
      std::vector<double> terms;
      for (size_t i = 0; i < result.size(); ++i) terms.push_back((1 + std::min(std::abs(gate[i]), 89.0)) * result[i]);
      return twice_error_of(loop, result, terms);
    };
    expect_close(y.doubles(), exact, limit(oracle::swiglu_forward<float>(gate, up), exact), "swiglu " + name);
    expect_close({d.begin(), d.begin() + F}, exact_back.dgate, limit(plain_back.dgate, exact_back.dgate),
                 "swiglu dgate " + name);
    expect_close({d.begin() + F, d.end()}, exact_back.dup, limit(plain_back.dup, exact_back.dup), "swiglu dup " + name);
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
