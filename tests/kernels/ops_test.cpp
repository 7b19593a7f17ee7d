// Every op but attention beside the fp64 oracle, on every instruction set, at odd sizes.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/adamw.h"
#include "kernels/cpu/isa.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
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

using IsaAndDtype = std::tuple<std::string, Dtype>;

/// On one instruction set, with weights and activations of one dtype: kernels compute in f32 and round results once.
class Ops : public testing::TestWithParam<IsaAndDtype> {
 protected:
  void SetUp() override { cpu::choose_isa(std::get<0>(GetParam())); }

  Dtype dtype() const { return std::get<1>(GetParam()); }
  std::vector<double> normal(int64_t n, uint64_t seed, double spread = 1.0) const {
    return rounded_to(dtype(), random_normal(n, seed, spread));
  }
  Buffer buffer(Shape shape, const std::vector<double>& values) const { return Buffer(shape, values, dtype()); }
  Buffer buffer(Shape shape) const { return Buffer(shape, __builtin_nanf(""), dtype()); }
  Tolerance rounded(Tolerance limit) const { return dtype() == Dtype::kBf16 ? rounded_to_bf16(limit) : limit; }
  std::string named(const std::string& what) const { return (dtype() == Dtype::kBf16 ? "bf16 " : "") + what; }
};

class F32Ops : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { cpu::choose_isa(GetParam()); }
};

TEST_P(F32Ops, Exp2IsExactToOneMillionthOverItsWholeRange) {
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

TEST_P(F32Ops, ExponentialOfWeightsThatBecomeBf16IsExactToOnePartInNineThousand) {
  std::vector<float> x, y;
  for (float v = -126.0f; v <= 20.0f; v += 0.00173f) x.push_back(v);
  y.resize(x.size());
  cpu::isa_kernels().exp2_bf16(y.data(), x.data(), static_cast<int64_t>(x.size()));
  for (size_t i = 0; i < x.size(); ++i)
    ASSERT_NEAR(static_cast<double>(y[i]) / std::exp2(static_cast<double>(x[i])), 1.0, 1.1e-4) << x[i];
  const float special[] = {0.0f, -127.0f, -1e30f, -HUGE_VALF, HUGE_VALF, NAN};
  float result[6];
  cpu::isa_kernels().exp2_bf16(result, special, 6);
  EXPECT_EQ(result[0], 1.0f);
  for (const int i : {1, 2, 3}) EXPECT_EQ(result[i], 0.0f) << special[i];
  EXPECT_FALSE(std::isfinite(result[4]));
  EXPECT_TRUE(std::isnan(result[5]));
}

TEST_P(Ops, RmsNormEqualsOracle) {
  for (const int64_t C : kOddSizes)
    for (const int64_t N : {int64_t{1}, int64_t{70}}) {
      const auto x = normal(N * C, 1), gain = normal(C, 2), dy = normal(N * C, 3);
      const auto residual = normal(N * C, 4), dgain_before = random_normal(C, 5);
      const double eps = 1e-5f;
      const auto exact = oracle::rms_norm_forward<double>(x, gain, eps);
      const auto plain = oracle::rms_norm_forward<float>(x, gain, eps);
      const Buffer xb = buffer({N, C}, x), gb = buffer({C}, gain), dyb = buffer({N, C}, dy);
      const Buffer rb = buffer({N, C}, residual), y = buffer({N, C}), dx = buffer({N, C});
      const Buffer rstd({N}), dgain({C}, dgain_before);
      rms_norm_forward(y.view(), rstd.view(), xb.view(), gb.view(), static_cast<float>(eps));
      const std::string what = named("rms_norm C " + std::to_string(C));
      expect_close(y.doubles(), exact.y, rounded(twice_error_of(plain.y, exact.y)), what + " y");

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
      expect_close(dx.doubles(), dx_exact, rounded(twice_error_of(dx_plain, dx_exact, terms)), what + " dx");
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
      const auto x = normal(B * T * H * D, 6);
      std::vector<int64_t> positions;
      for (int64_t t = 0; t < T; ++t) positions.push_back(t * t * 977);
      const Buffer cosine({T, D / 2}), sine({T, D / 2}), xb = buffer({B, T, H, D}, x);
      rope_angles(cosine.view(), sine.view(), positions, 10000.0);
      rope_forward(xb.view(), cosine.view(), sine.view());
      std::vector<int64_t> tokens;
      for (int64_t b = 0; b < B; ++b) tokens.insert(tokens.end(), positions.begin(), positions.end());
      const auto exact = oracle::rope_forward<double>(x, positions, H, D, 10000.0);
      const auto plain = oracle::rope_forward<float>(x, positions, H, D, 10000.0);
      expect_close(xb.doubles(), exact, rounded(twice_error_of(plain, exact)), named("rope"));
      rope_backward(xb.view(), cosine.view(), sine.view());
      Tolerance both_ways = {2.0 * twice_error_of(plain, exact).absolute};
      if (dtype() == Dtype::kBf16) {  // what the first way rounded of a pair is turned back with it
        double largest = 0.0;
        for (const double value : exact) largest = std::max(largest, std::abs(value));
        both_ways.absolute += std::sqrt(2.0) * kBf16Roundoff * largest;
      }
      expect_close(xb.doubles(), x, rounded(both_ways), named("rope and back"));
      const Buffer dy = buffer({B, T, H, D}, x);
      rope_backward(dy.view(), cosine.view(), sine.view());
      const auto exact_back = oracle::rope_backward<double>(x, positions, H, D, 10000.0);
      const auto plain_back = oracle::rope_backward<float>(x, positions, H, D, 10000.0);
      expect_close(dy.doubles(), exact_back, rounded(twice_error_of(plain_back, exact_back)), named("rope backward"));
    }
}

TEST_P(Ops, SwigluEqualsOracleAlsoForLargeInputs) {
  for (const int64_t F : kOddSizes)
    for (const double spread : {1.0, 30.0}) {
      const int64_t N = 5;
      const auto gate = normal(N * F, 7, spread), up = normal(N * F, 8), dy = normal(N * F, 9);
      std::vector<double> both;
      for (int64_t n = 0; n < N; ++n) {
        both.insert(both.end(), gate.begin() + n * F, gate.begin() + (n + 1) * F);
        both.insert(both.end(), up.begin() + n * F, up.begin() + (n + 1) * F);
      }
      const Buffer gate_up = buffer({N, 2 * F}, both), dyb = buffer({N, F}, dy);
      const Buffer y = buffer({N, F}), dgate_up = buffer({N, 2 * F});
      swiglu_forward(y.view(), gate_up.view());
      const auto exact = oracle::swiglu_forward<double>(gate, up);
      const auto plain = oracle::swiglu_forward<float>(gate, up);
      expect_close(y.doubles(), exact, rounded(twice_error_of(plain, exact)), named("swiglu"));
      swiglu_backward(dgate_up.view(), dyb.view(), gate_up.view());
      const auto exact_back = oracle::swiglu_backward<double>(gate, up, dy);
      const auto plain_back = oracle::swiglu_backward<float>(gate, up, dy);
      const auto d = dgate_up.doubles();
      std::vector<double> dgate, dup;
      for (int64_t n = 0; n < N; ++n) {
        dgate.insert(dgate.end(), d.begin() + 2 * n * F, d.begin() + (2 * n + 1) * F);
        dup.insert(dup.end(), d.begin() + (2 * n + 1) * F, d.begin() + (2 * n + 2) * F);
      }
      expect_close(dgate, exact_back.dgate, rounded(twice_error_of(plain_back.dgate, exact_back.dgate)),
                   named("swiglu dgate"));
      expect_close(dup, exact_back.dup, rounded(twice_error_of(plain_back.dup, exact_back.dup)), named("swiglu dup"));
    }
}

TEST_P(Ops, EmbeddingEqualsOracle) {
  const int64_t V = 11, N = 200;
  for (const int64_t C : kOddSizes) {
    const auto table = normal(V * C, 10), dy = normal(N * C, 11), before = random_normal(V * C, 12);
    const auto tokens = random_below(N, V, 13);
    auto tokens32 = narrow(tokens);
    const Buffer tb = buffer({V, C}, table), dyb = buffer({N, C}, dy), y = buffer({N, C}), dtable({V, C}, before);
    embedding_forward(y.view(), tb.view(), ints(tokens32));
    expect_close(y.doubles(), oracle::embedding_forward<double>(table, tokens, C), {0.0}, named("embedding"));
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
    expect_close(dtable.doubles(), exact, twice_error_of(plain_sum, exact, terms), named("embedding backward"));
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
      const Buffer z({N, V}, logits), apart = buffer({N, V}), loss({N});
      const Buffer& dz = dtype() == Dtype::kF32 ? z : apart;
      cross_entropy(loss.view(), dz.view(), z.view(), ints(labels32), LossGradient::kNo, 0.0f);
      expect_close(z.doubles(), logits, {0.0}, "cross entropy must not touch the logits");
      cross_entropy(loss.view(), dz.view(), z.view(), ints(labels32), LossGradient::kYes, static_cast<float>(scale));
      double sum_of_losses = 0.0, terms = 0.0;
      for (const double l : loss.doubles()) sum_of_losses += l, terms += std::abs(l) + spread * 4;
      expect_close({sum_of_losses}, {exact.loss_sum},
                   twice_error_of(std::vector<float>{plain.loss_sum}, {exact.loss_sum}, {terms}),
                   named("cross entropy"));
      EXPECT_EQ(loss.data()[3], 0.0f);
      // A weight moves by its own rounding and that of its logit.
      std::vector<double> gradient_terms(exact.dlogits.size());
      for (size_t i = 0; i < gradient_terms.size(); ++i) gradient_terms[i] = scale * (1.0 + std::abs(logits[i]));
      expect_close(dz.doubles(), exact.dlogits, rounded(twice_error_of(plain.dlogits, exact.dlogits, gradient_terms)),
                   named("dlogits"));
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
      const Buffer master({n}, w), rounded_weight = buffer({n}), mb({n}, m), vb({n}, v), gb({n}, g);
      const Buffer& weight = dtype() == Dtype::kF32 ? master : rounded_weight;
      adamw(weight.view(), master.view(), mb.view(), vb.view(), gb.view(),
            {.learning_rate = 1e-2f,
             .beta1 = 0.9f,
             .beta2 = 0.95f,
             .epsilon = 1e-8f,
             .weight_decay = 0.1f,
             .gradient_scale = 1.0f,
             .step = step});
      expect_close(master.doubles(), exact.w, twice_error_of(plain.w, exact.w), "adamw w");
      expect_close(weight.doubles(), rounded_to(dtype(), master.doubles()), {0.0}, "adamw: the master, rounded once");
      expect_close(mb.doubles(), exact.m, twice_error_of(plain.m, exact.m), "adamw m");
      expect_close(vb.doubles(), exact.v, twice_error_of(plain.v, exact.v), "adamw v");
    }
}

TEST_P(Ops, SumsAreRoundedOnce) {
  const int64_t n = 70001;
  const auto a = normal(n, 20), b = normal(n, 21);
  const Buffer ab = buffer({n}, a), bb = buffer({n}, b), s = buffer({n});
  add(s.view(), ab.view(), bb.view());
  std::vector<double> once;
  for (size_t i = 0; i < a.size(); ++i) once.push_back(static_cast<float>(a[i] + b[i]));
  expect_close(s.doubles(), rounded_to(dtype(), once), {0.0}, named("add"));
}

TEST_P(F32Ops, SumOfSquaresIsExactToItsRounding) {
  for (const int64_t n : {int64_t{70001}, int64_t{513 * 16384 + 5}}) {
    const auto a = random_normal(n, 20);
    const Buffer ab({n}, a);
    double squares = 0.0;
    for (const double x : a) squares += x * x;
    // Partial sums of 16384 squares in four registers of at least four lanes: at most 1024 additions each.
    EXPECT_NEAR(sum_of_squares(ab.view()), squares, 1024 * kUnitRoundoff * squares);
  }
}

// Every bf16 number and, of the floats between them, those where rounding turns: below, at and above the middle.
TEST_P(F32Ops, ConversionsRoundToNearestEvenAndKeepNan) {
  std::vector<float> floats;
  for (uint32_t upper = 0; upper < 0x10000u; ++upper)
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu})
      floats.push_back(std::bit_cast<float>(upper << 16 | lower));
  const auto n = static_cast<int64_t>(floats.size());
  const TensorView from(floats.data(), Dtype::kF32, {n});
  const Buffer narrow_buffer = Buffer({n}, 0.0f, Dtype::kBf16), wide_buffer({n});
  const TensorView narrow = narrow_buffer.view(), wide = wide_buffer.view();
  convert(narrow, from);
  convert(wide, narrow);
  // The instruction of avx512_bf16 takes subnormal numbers for zero.
  const bool flushes = GetParam() == "avx512_bf16";
  int64_t wrong = 0, not_kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float x = floats[static_cast<size_t>(i)];
    const Bf16 got = narrow.data<Bf16>()[i], expected = Bf16::from(x);
    if (flushes && std::abs(x) < 0x1p-126f)
      wrong += (got.bits & 0x7FFF) != 0;
    else
      wrong += got.bits != expected.bits;
    not_kept += std::bit_cast<uint32_t>(wide.data<float>()[i]) != uint32_t{got.bits} << 16;
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(not_kept, 0);
}

TEST_P(F32Ops, ConversionsTakeRowsThatLieApart) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {5, 40000}}) {
    const auto values = rounded_to(Dtype::kBf16, random_normal(2 * rows * (columns + 3), 25));
    const Buffer from({2, rows, columns + 3}, values), to({2, rows, columns + 3}, 7.0f, Dtype::kBf16);
    convert(to.view().narrow(2, 2, columns), from.view().narrow(2, 1, columns));
    const auto got = to.doubles();
    int64_t wrong = 0;
    for (int64_t row = 0; row < 2 * rows; ++row)
      for (int64_t c = 0; c < columns + 3; ++c) {
        const auto at = static_cast<size_t>(row * (columns + 3) + c);
        wrong += got[at] != (c < 2 || c == columns + 2 ? 7.0 : values[at - 1]);
      }
    EXPECT_EQ(wrong, 0) << rows << " x " << columns;
  }
}

TEST(OpDtypes, ThatDoNotFitAreNamed) {
  const Buffer f32({2, 3}), bf16({2, 3}, 0.0f, Dtype::kBf16), rstd({2}), gain({3});
  const auto message = [](auto&& op) {
    try {
      op();
    } catch (const std::logic_error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message([&] { rms_norm_forward(bf16.view(), rstd.view(), bf16.view(), gain.view(), 1e-5f); }),
            "bug in annulus: rms_norm: gain is f32, expected bf16");
  EXPECT_EQ(message([&] { add(f32.view(), f32.view(), bf16.view()); }), "bug in annulus: add: b is bf16, expected f32");
  EXPECT_EQ(message([&] { adamw(f32.view(), rstd.view(), f32.view(), f32.view(), f32.view(), {}); }),
            "bug in annulus: adamw: an f32 weight is its own master");
}

std::string name_of_case(const testing::TestParamInfo<IsaAndDtype>& info) {
  return std::string(name_of(std::get<1>(info.param))) + "_on_" + std::get<0>(info.param);
}

INSTANTIATE_TEST_SUITE_P(Isa, Ops,
                         testing::Combine(testing::ValuesIn(cpu::supported_isas()),
                                          testing::Values(Dtype::kF32, Dtype::kBf16)),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(Isa, F32Ops, testing::ValuesIn(cpu::supported_isas()),
                         [](const auto& isa) { return isa.param; });

}  // namespace
}  // namespace annulus::test
