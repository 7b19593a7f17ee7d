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
#include "tests/support/buffer.h"
#include "tests/support/scratch.h"
#include "tests/support/update_cases.h"

namespace annulus::test {
namespace {

const std::vector<int64_t> kOddSizes = {1, 3, 8, 17, 40, 129};

TensorView ints(std::vector<int32_t>& values) {
  return TensorView(values.data(), Dtype::kI32, {static_cast<int64_t>(values.size())});
}

std::vector<int32_t> narrow(const std::vector<int64_t>& values) { return {values.begin(), values.end()}; }

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
      const NormCase given(N, C, dtype());
      const Buffer x = buffer({N, C}, given.x), gain = buffer({C}, given.gain), dy = buffer({N, C}, given.dy);
      const Buffer residual = buffer({N, C}, given.residual), y = buffer({N, C}), dx = buffer({N, C});
      const Buffer rstd({N}), dgain({C}, given.dgain_before);
      rms_norm_forward(y.view(), rstd.view(), x.view(), gain.view(), static_cast<float>(given.epsilon));
      given.expect_y(y.doubles());
      Scratch scratch;
      rms_norm_backward(dx.view(), dgain.view(), dy.view(), x.view(), rstd.view(), gain.view(), residual.view(),
                        scratch);
      given.expect_gradients(dx.doubles(), dgain.doubles());
    }
}

TEST_P(Ops, RopeEqualsOracleAndTurnsBack) {
  for (const int64_t D : {8, 24, 64})
    for (const int64_t T : {int64_t{1}, int64_t{19}}) {
      const RopeCase given(2, T, 3, D, dtype());
      const Shape shape = {given.B, T, given.H, D};
      const Buffer cosine({T, D / 2}), sine({T, D / 2}), x = buffer(shape, given.x), dy = buffer(shape, given.x);
      rope_angles(cosine.view(), sine.view(), given.positions, RopeCase::kBase);
      rope_forward(x.view(), cosine.view(), sine.view());
      given.expect_turned(x.doubles());
      rope_backward(x.view(), cosine.view(), sine.view());
      given.expect_turned_both_ways(x.doubles());
      rope_backward(dy.view(), cosine.view(), sine.view());
      given.expect_turned_back(dy.doubles());
    }
}

TEST_P(Ops, SwigluEqualsOracleAlsoForLargeInputs) {
  for (const int64_t F : kOddSizes)
    for (const double spread : {1.0, 30.0}) {
      const int64_t N = 5;
      const SwigluCase given(N, F, spread, dtype());
      const Buffer gate_up = buffer({N, 2 * F}, given.gate_up()), dy = buffer({N, F}, given.dy);
      const Buffer y = buffer({N, F}), dgate_up = buffer({N, 2 * F});
      swiglu_forward(y.view(), gate_up.view());
      given.expect_y(y.doubles());
      swiglu_backward(dgate_up.view(), dy.view(), gate_up.view());
      given.expect_dgate_up(dgate_up.doubles());
    }
}

TEST_P(Ops, EmbeddingEqualsOracle) {
  const int64_t V = 11, N = 200;
  for (const int64_t C : kOddSizes) {
    const EmbeddingCase given(V, N, C, dtype());
    auto tokens = narrow(given.tokens);
    const Buffer table = buffer({V, C}, given.table), dy = buffer({N, C}, given.dy), y = buffer({N, C});
    const Buffer dtable({V, C}, given.dtable_before);
    embedding_forward(y.view(), table.view(), ints(tokens));
    given.expect_y(y.doubles());
    embedding_backward(dtable.view(), dy.view(), ints(tokens));
    given.expect_dtable(dtable.doubles());
  }
}

TEST_P(Ops, CrossEntropyEqualsOracleAlsoForLargeLogits) {
  for (const int64_t V : {2, 17, 256, 1001})
    for (const double spread : {1.0, 50.0}) {
      const int64_t N = 9;
      const CrossEntropyCase given(N, V, spread, dtype());
      auto labels = narrow(given.labels);
      const Buffer z({N, V}, given.logits), apart = buffer({N, V}), loss({N});
      const Buffer& dz = dtype() == Dtype::kF32 ? z : apart;
      cross_entropy(loss.view(), dz.view(), z.view(), ints(labels), LossGradient::kNo, 0.0f);
      expect_close(z.doubles(), given.logits, {0.0}, "cross entropy must not touch the logits");
      cross_entropy(loss.view(), dz.view(), z.view(), ints(labels), LossGradient::kYes,
                    static_cast<float>(given.scale));
      given.expect_losses(loss.doubles());
      given.expect_dlogits(dz.doubles());
    }
}

TEST_P(Ops, AdamwEqualsOracleOverSeveralSteps) {
  for (const int64_t n : kOddSizes)
    for (const int64_t step : {1, 2, 1000}) {
      const AdamwCase given(n, step);
      const Buffer master({n}, given.w), rounded_weight = buffer({n}), m({n}, given.m), v({n}, given.v);
      const Buffer gradient({n}, given.gradient);
      const Buffer& weight = dtype() == Dtype::kF32 ? master : rounded_weight;
      adamw(weight.view(), master.view(), m.view(), v.view(), gradient.view(),
            {.learning_rate = AdamwCase::kLearningRate,
             .beta1 = AdamwCase::kBeta1,
             .beta2 = AdamwCase::kBeta2,
             .epsilon = AdamwCase::kEpsilon,
             .weight_decay = AdamwCase::kDecay,
             .gradient_scale = 1.0f,
             .step = step});
      given.expect_updated(master.doubles(), m.doubles(), v.doubles());
      expect_close(weight.doubles(), rounded_to(dtype(), master.doubles()), {0.0}, "adamw: the master, rounded once");
    }
}

TEST_P(Ops, SumsAreRoundedOnce) {
  const int64_t n = 70001;
  const auto a = normal(n, 20), b = normal(n, 21);
  const Buffer ab = buffer({n}, a), bb = buffer({n}, b), s = buffer({n});
  add(s.view(), ab.view(), bb.view());
  std::vector<double> once;
  for (size_t i = 0; i < a.size(); ++i) once.push_back(static_cast<float>(a[i] + b[i]));
  expect_close(s.doubles(), rounded_to(dtype(), once), {0.0}, named(dtype(), "add"));
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
