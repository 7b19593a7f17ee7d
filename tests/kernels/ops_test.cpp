// Every op but attention beside the fp64 oracle, on every instruction set, at odd sizes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/adamw.h"
#include "kernels/cpu/isa.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
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

const std::vector<int64_t> kOddSizes = {1, 3, 8, 17, 40, 129};

TensorView ints(std::vector<int32_t>& values) {
  return TensorView(values.data(), Dtype::kI32, {static_cast<int64_t>(values.size())});
}

std::vector<int32_t> narrow(const std::vector<int64_t>& values) { return {values.begin(), values.end()}; }

std::vector<double> sum(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

class Ops : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { cpu::choose_isa(GetParam()); }
};

TEST_P(Ops, Exp2IsExactToOneMillionthOverItsWholeRange) {
  std::vector<float> x, y;
  for (float v = -126.0f; v <= 20.0f; v += 0.00173f) x.push_back(v);
  for (const float v : {0.0f, -0.5f, 0.5f, -1.0f, 1.0f, -125.999f}) x.push_back(v);
  y.resize(x.size());
  cpu::isa_kernels().exp2(y.data(), x.data(), static_cast<int64_t>(x.size()));
  double worst = 0.0;
  for (size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) / std::exp2(static_cast<double>(x[i])) - 1.0));
  EXPECT_LT(worst, 1e-7) << "fast-math in the build folds the rounding away; then this is 0.4";

  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f, -127.0f, -1000.0f, -inf, nan};
  float result[5];
  cpu::isa_kernels().exp2(result, special, 5);
  EXPECT_EQ(result[0], 1.0f);
  EXPECT_EQ(result[1], 0.0f);
  EXPECT_EQ(result[2], 0.0f);
  EXPECT_EQ(result[3], 0.0f);
  EXPECT_TRUE(std::isnan(result[4]));
}

TEST_P(Ops, RmsNormEqualsOracle) {
  for (const int64_t C : kOddSizes)
    for (const int64_t N : {int64_t{1}, int64_t{70}}) {
      const auto x = random_normal(N * C, 1), gain = random_normal(C, 2), dy = random_normal(N * C, 3);
      const auto residual = random_normal(N * C, 4), dgain_before = random_normal(C, 5);
      const double eps = 1e-5f;
      const auto exact = oracle::rms_norm_forward<double>(x, gain, eps);
      const auto plain = oracle::rms_norm_forward<float>(x, gain, eps);
      const Buffer xb({N, C}, x), gb({C}, gain), dyb({N, C}, dy), rb({N, C}, residual);
      const Buffer y({N, C}), rstd({N}), dx({N, C}), dgain({C}, dgain_before);
      rms_norm_forward(y.view(), rstd.view(), xb.view(), gb.view(), static_cast<float>(eps));
      const std::string what = "rms_norm C " + std::to_string(C);
      expect_close(y.doubles(), exact.y, twice_error_of(plain.y, exact.y), what + " y");

      Scratch scratch;
      rms_norm_backward(dx.view(), dgain.view(), dyb.view(), xb.view(), rstd.view(), gb.view(), rb.view(), scratch);
      const auto exact_back = oracle::rms_norm_backward<double>(x, gain, dy, eps);
      const auto plain_back = oracle::rms_norm_backward<float>(x, gain, dy, eps);
      // The terms dy * gain * rstd and the projection cancel (all of them where C = 1): one rounding of the terms.
      std::vector<double> terms(x.size());
      for (size_t i = 0; i < terms.size(); ++i)
        terms[i] = std::abs(residual[i]) + 4 * std::abs(dy[i] * gain[i % gain.size()] * exact.rstd[i / gain.size()]);
      const auto dx_exact = sum(exact_back.dx, residual);
      const auto dx_plain = sum({plain_back.dx.begin(), plain_back.dx.end()}, residual);
      expect_close(dx.doubles(), dx_exact, twice_error_of(dx_plain, dx_exact, terms), what + " dx");
      std::vector<double> column_terms(gain.size());
      for (size_t i = 0; i < x.size(); ++i)
        column_terms[i % gain.size()] += std::abs(dy[i] * x[i] * exact.rstd[i / gain.size()]);
      const auto dg_exact = sum(exact_back.dgain, dgain_before);
      const auto dg_plain = sum({plain_back.dgain.begin(), plain_back.dgain.end()}, dgain_before);
      expect_close(dgain.doubles(), dg_exact, twice_error_of(dg_plain, dg_exact, column_terms), what + " dgain");
    }
}

TEST_P(Ops, RopeEqualsOracleAndTurnsBack) {
  for (const int64_t D : {8, 24, 64})
    for (const int64_t T : {int64_t{1}, int64_t{19}}) {
      const int64_t B = 2, H = 3;
      const auto x = random_normal(B * T * H * D, 6);
      std::vector<int64_t> positions;
      for (int64_t t = 0; t < T; ++t) positions.push_back(t * t * 977);
      const Buffer cosine({T, D / 2}), sine({T, D / 2}), xb({B, T, H, D}, x);
      rope_angles(cosine.view(), sine.view(), positions, 10000.0);
      rope_forward(xb.view(), cosine.view(), sine.view());
      std::vector<int64_t> tokens;
      for (int64_t b = 0; b < B; ++b) tokens.insert(tokens.end(), positions.begin(), positions.end());
      const auto exact = oracle::rope_forward<double>(x, positions, H, D, 10000.0);
      const auto plain = oracle::rope_forward<float>(x, positions, H, D, 10000.0);
      expect_close(xb.doubles(), exact, twice_error_of(plain, exact), "rope");
      rope_backward(xb.view(), cosine.view(), sine.view());
      const Tolerance both_ways = {2.0 * twice_error_of(plain, exact).absolute};
      expect_close(xb.doubles(), x, both_ways, "rope and back");
      const Buffer dy({B, T, H, D}, x);
      rope_backward(dy.view(), cosine.view(), sine.view());
      const auto exact_back = oracle::rope_backward<double>(x, positions, H, D, 10000.0);
      const auto plain_back = oracle::rope_backward<float>(x, positions, H, D, 10000.0);
      expect_close(dy.doubles(), exact_back, twice_error_of(plain_back, exact_back), "rope backward");
    }
}

TEST_P(Ops, SwigluEqualsOracleAlsoForLargeInputs) {
  for (const int64_t F : kOddSizes)
    for (const double spread : {1.0, 30.0}) {
      const int64_t N = 5;
      const auto gate = random_normal(N * F, 7, spread), up = random_normal(N * F, 8), dy = random_normal(N * F, 9);
      std::vector<double> both;
      for (int64_t n = 0; n < N; ++n) {
        both.insert(both.end(), gate.begin() + n * F, gate.begin() + (n + 1) * F);
        both.insert(both.end(), up.begin() + n * F, up.begin() + (n + 1) * F);
      }
      const Buffer gate_up({N, 2 * F}, both), dyb({N, F}, dy), y({N, F}), dgate_up({N, 2 * F});
      swiglu_forward(y.view(), gate_up.view());
      const auto exact = oracle::swiglu_forward<double>(gate, up);
      const auto plain = oracle::swiglu_forward<float>(gate, up);
      expect_close(y.doubles(), exact, twice_error_of(plain, exact), "swiglu");
      swiglu_backward(dgate_up.view(), dyb.view(), gate_up.view());
      const auto exact_back = oracle::swiglu_backward<double>(gate, up, dy);
      const auto plain_back = oracle::swiglu_backward<float>(gate, up, dy);
      const auto d = dgate_up.doubles();
      std::vector<double> dgate, dup;
      for (int64_t n = 0; n < N; ++n) {
        dgate.insert(dgate.end(), d.begin() + 2 * n * F, d.begin() + (2 * n + 1) * F);
        dup.insert(dup.end(), d.begin() + (2 * n + 1) * F, d.begin() + (2 * n + 2) * F);
      }
      expect_close(dgate, exact_back.dgate, twice_error_of(plain_back.dgate, exact_back.dgate), "swiglu dgate");
      expect_close(dup, exact_back.dup, twice_error_of(plain_back.dup, exact_back.dup), "swiglu dup");
    }
}

TEST_P(Ops, EmbeddingEqualsOracle) {
  const int64_t V = 11, N = 200;
  for (const int64_t C : kOddSizes) {
    const auto table = random_normal(V * C, 10), dy = random_normal(N * C, 11), before = random_normal(V * C, 12);
    const auto tokens = random_below(N, V, 13);
    auto tokens32 = narrow(tokens);
    const Buffer tb({V, C}, table), dyb({N, C}, dy), y({N, C}), dtable({V, C}, before);
    embedding_forward(y.view(), tb.view(), ints(tokens32));
    expect_close(y.doubles(), oracle::embedding_forward<double>(table, tokens, C), {0.0}, "embedding");
    embedding_backward(dtable.view(), dyb.view(), ints(tokens32));
    const auto exact = sum(oracle::embedding_backward<double>(tokens, dy, V, C), before);
    const auto plain = oracle::embedding_backward<float>(tokens, dy, V, C);
    const auto plain_sum = sum({plain.begin(), plain.end()}, before);
    // A sum of about N / V terms, each rounding at the size of the sum so far.
    std::vector<double> terms(exact.size());
    for (int64_t n = 0; n < N; ++n)
      for (int64_t c = 0; c < C; ++c)
        terms[static_cast<size_t>(tokens[static_cast<size_t>(n)] * C + c)] +=
            std::abs(dy[static_cast<size_t>(n * C + c)]);
    expect_close(dtable.doubles(), exact, twice_error_of(plain_sum, exact, terms), "embedding backward");
  }
}

TEST_P(Ops, CrossEntropyEqualsOracleAlsoForLargeLogits) {
  for (const int64_t V : {2, 17, 256, 1001})
    for (const double spread : {1.0, 50.0}) {
      const int64_t N = 9;
      const auto logits = random_normal(N * V, 14, spread);
      auto labels = random_below(N, V, 15);
      labels[3] = -1;
      const double scale = 1.0 / 8.0;
      const auto exact = oracle::cross_entropy<double>(logits, labels, V, scale);
      const auto plain = oracle::cross_entropy<float>(logits, labels, V, scale);
      auto labels32 = narrow(labels);
      const Buffer z({N, V}, logits), loss({N});
      cross_entropy(loss.view(), z.view(), z.view(), ints(labels32), LossGradient::kNo, 0.0f);
      expect_close(z.doubles(), logits, {0.0}, "cross entropy must not touch the logits");
      cross_entropy(loss.view(), z.view(), z.view(), ints(labels32), LossGradient::kYes, static_cast<float>(scale));
      double sum_of_losses = 0.0, terms = 0.0;
      for (const double l : loss.doubles()) sum_of_losses += l, terms += std::abs(l) + spread * 4;
      expect_close({sum_of_losses}, {exact.loss_sum},
                   twice_error_of(std::vector<float>{plain.loss_sum}, {exact.loss_sum}, {terms}), "cross entropy");
      EXPECT_EQ(loss.data()[3], 0.0f);
      // A weight moves by its own rounding and that of its logit.
      std::vector<double> gradient_terms(exact.dlogits.size());
      for (size_t i = 0; i < gradient_terms.size(); ++i) gradient_terms[i] = scale * (1.0 + std::abs(logits[i]));
      expect_close(z.doubles(), exact.dlogits, twice_error_of(plain.dlogits, exact.dlogits, gradient_terms), "dlogits");
    }
}

TEST_P(Ops, AdamwEqualsOracleOverSeveralSteps) {
  for (const int64_t n : kOddSizes)
    for (const int64_t step : {1, 2, 1000}) {
      const auto w = random_normal(n, 16), m = random_normal(n, 17, 0.1), g = random_normal(n, 19);
      auto v = random_normal(n, 18, 0.1);
      for (double& x : v) x = std::abs(x);
      const auto f = [](double x) { return static_cast<double>(static_cast<float>(x)); };
      const oracle::AdamwOptions o = {f(1e-2), f(0.9), f(0.95), f(1e-8), f(0.1), step};
      const auto exact = oracle::adamw<double>(w, m, v, g, o);
      const auto plain = oracle::adamw<float>(w, m, v, g, o);
      const Buffer wb({n}, w), mb({n}, m), vb({n}, v), gb({n}, g);
      adamw(wb.view(), wb.view(), mb.view(), vb.view(), gb.view(),
            {.learning_rate = 1e-2f,
             .beta1 = 0.9f,
             .beta2 = 0.95f,
             .epsilon = 1e-8f,
             .weight_decay = 0.1f,
             .gradient_scale = 1.0f,
             .step = step});
      expect_close(wb.doubles(), exact.w, twice_error_of(plain.w, exact.w), "adamw w");
      expect_close(mb.doubles(), exact.m, twice_error_of(plain.m, exact.m), "adamw m");
      expect_close(vb.doubles(), exact.v, twice_error_of(plain.v, exact.v), "adamw v");
    }
}

TEST_P(Ops, SumsAreExactToTheirRounding) {
  const int64_t n = 70001;
  const auto a = random_normal(n, 20), b = random_normal(n, 21);
  const Buffer ab({n}, a), bb({n}, b), s({n});
  add(s.view(), ab.view(), bb.view());
  double squares = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    ASSERT_EQ(s.data()[i], static_cast<float>(a[at]) + static_cast<float>(b[at]));
    squares += a[at] * a[at];
  }
  // Partial sums of 16384 squares in four registers of at least four lanes: at most 1024 additions each.
  EXPECT_NEAR(sum_of_squares(ab.view()), squares, 1024 * kUnitRoundoff * squares);
}

INSTANTIATE_TEST_SUITE_P(Isa, Ops, testing::ValuesIn(cpu::supported_isas()), [](const auto& isa) { return isa.param; });

// c (+)= op(a) op(b): a dot product of length K may err by K u sum |a b|.
void expect_product(int64_t M, int64_t N, int64_t K, bool ta, bool tb, bool accumulate) {
  const auto a = random_normal(M * K, 22), b = random_normal(K * N, 23), before = random_normal(M * N, 24);
  const Buffer ab(ta ? Shape{K, M} : Shape{M, K}, a), bb(tb ? Shape{N, K} : Shape{K, N}, b), c({M, N}, before);
  Arena scratch("scratch");
  const Transpose tra = ta ? Transpose::kYes : Transpose::kNo, trb = tb ? Transpose::kYes : Transpose::kNo;
  const Write write = accumulate ? Write::kAdd : Write::kReplace;
  const TensorView shape_only(nullptr, Dtype::kF32, {M, N}, Device::kShape);
  gemm(shape_only, ab.view(), tra, bb.view(), trb, write, scratch);
  scratch.commit();
  gemm(c.view(), ab.view(), tra, bb.view(), trb, write, scratch);
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
      const double error = std::abs(static_cast<double>(c.data()[i * N + j]) - exact);
      worst = std::max(worst, error / (static_cast<double>(K + 1) * kUnitRoundoff * terms));
    }
  EXPECT_LE(worst, 1.0) << M << " x " << N << " x " << K << " transpose " << ta << tb << " add " << accumulate;
}

TEST(Gemm, EqualsOracleForEveryTransposition) {
  for (const auto& [M, N, K] : {std::array<int64_t, 3>{1, 1, 1}, {5, 7, 3}, {33, 40, 65}, {64, 17, 128}})
    for (const bool ta : {false, true})
      for (const bool tb : {false, true})
        for (const bool accumulate : {false, true}) expect_product(M, N, K, ta, tb, accumulate);
}

TEST(Gemm, NothingTimesNothingIsZero) {
  const Buffer c({2, 3}, 7.0f), a({2, 0}), b({0, 3});
  Arena scratch("scratch");
  gemm(c.view(), a.view(), Transpose::kNo, b.view(), Transpose::kNo, Write::kAdd, scratch);
  EXPECT_EQ(c.data()[5], 7.0f);
  gemm(c.view(), a.view(), Transpose::kNo, b.view(), Transpose::kNo, Write::kReplace, scratch);
  EXPECT_EQ(c.data()[5], 0.0f);
}

}  // namespace
}  // namespace annulus::test
