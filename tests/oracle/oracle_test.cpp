// The oracle checked against itself: numbers worked out by hand, then central differences of every forward, at odd
// sizes.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tests/oracle/attention.h"
#include "tests/oracle/central_difference.h"
#include "tests/oracle/layers.h"
#include "tests/oracle/tape.h"
#include "tests/oracle/transformer.h"
#include "tests/oracle/vectors.h"

namespace oracle {
namespace {

using Doubles = std::vector<double>;

constexpr int64_t kFar = kUnbounded;
const std::vector<Slice> kNoSlices;

/// Numbers worked out by hand take a handful of fp64 roundings (u = 1.1e-16) of values below 100.
constexpr double kByHand = 1e-13;

/// Multiples of 2^-20, which float holds as well as double: both loops start from the same numbers.
Doubles random(int64_t n, uint64_t seed, double low = -1.0, double high = 1.0) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  Doubles x;
  for (int64_t i = 0; i < n; ++i) x.push_back(std::ldexp(std::round(std::ldexp(uniform(engine), 20)), -20));
  return x;
}

double inner(const Doubles& a, const Doubles& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

void expect_gradient(const Doubles& gradient, const Doubles& x, const std::string& what, const ScalarFunction& f) {
  EXPECT_LE(worst_error(gradient, central_differences(f, x)), kDifferenceLimit) << what;
}

void expect_by_hand(const Doubles& got, const Doubles& exact, const std::string& what) {
  EXPECT_LE(worst_error(got, exact), kByHand) << what;
}

// ---- attention.h

/// One head, D = 1, causal, scale 1/2, q = 2, so that scores are k = (0, ln 2, ln 5) and softmax weights go as 1 : 2
/// : 5.
///   p = [1], [1/3, 2/3], [1/8, 1/4, 5/8]    v = (24, 12, 0)    out = 24, 8 + 8, 3 + 3 + 0    lse = ln 1, ln 3, ln 8
/// Backward with dout = (1, 3, 2): dp_ij = dout_i v_j, delta_i = dout_i out_i, ds_ij = p_ij dout_i (v_j - out_i)
///   ds = [0], 3 [1/3 * 8, 2/3 * -4] = [8, -8], 2 [1/8 * 18, 1/4 * 6, 5/8 * -6] = [9/2, 3, -15/2]
///   dv_j = sum_i p_ij dout_i: 1 + 3/3 + 2/8, 3 * 2/3 + 2/4, 2 * 5/8
///   dk_j = 1/2 * 2 * sum_i ds_ij: 8 + 9/2, -8 + 3, -15/2        dq_i = 1/2 sum_j ds_ij k_j
TEST(OracleAttention, ThreeByThreeCausalByHand) {
  const double ln2 = std::log(2.0), ln5 = std::log(5.0);
  const AttentionShape shape{.B = 1, .Sq = 3, .Sk = 3, .H = 1, .K = 1, .Dqk = 1, .Dv = 1};
  const auto r =
      attention<double>({2, 2, 2}, {0, ln2, ln5}, {24, 12, 0}, {1, 3, 2}, shape, {{0, 3, 0, 3, 0, kFar}}, 0.5);
  expect_by_hand(r.out, {24.0, 16.0, 6.0}, "out");
  expect_by_hand(r.lse, {0.0, std::log(3.0), std::log(8.0)}, "lse");
  expect_by_hand(r.dq, {0.0, -4.0 * ln2, 0.5 * (3.0 * ln2 - 7.5 * ln5)}, "dq");
  expect_by_hand(r.dk, {12.5, -5.0, -7.5}, "dk");
  expect_by_hand(r.dv, {2.25, 2.5, 1.25}, "dv");
}

struct AttentionCase {
  std::string name;
  AttentionShape shape;
  std::vector<Slice> slices;
};

std::vector<AttentionCase> attention_cases() {
  const AttentionShape mha{.B = 2, .Sq = 7, .Sk = 7, .H = 2, .K = 2, .Dqk = 3, .Dv = 3};
  const AttentionShape gqa{.B = 1, .Sq = 7, .Sk = 7, .H = 4, .K = 2, .Dqk = 3, .Dv = 3};
  const AttentionShape mqa{.B = 2, .Sq = 5, .Sk = 5, .H = 3, .K = 1, .Dqk = 2, .Dv = 2};
  const AttentionShape cross{.B = 2, .Sq = 5, .Sk = 9, .H = 2, .K = 1, .Dqk = 4, .Dv = 3};
  const AttentionShape short_keys{.B = 1, .Sq = 8, .Sk = 3, .H = 2, .K = 2, .Dqk = 2, .Dv = 5};
  return {{"causal", mha, {{0, 7, 0, 7, 0, kFar}}},
          {"full", mha, {{0, 7, 0, 7, -kFar, kFar}}},
          {"window of 3", gqa, {{0, 7, 0, 7, 0, 2}}},
          {"sink and window", gqa, {{0, 7, 0, 1, 3, kFar}, {0, 7, 0, 7, 0, 2}}},
          {"two documents", gqa, {{0, 3, 0, 3, 0, kFar}, {3, 7, 3, 7, 0, kFar}}},
          {"prefix of 2", mqa, {{0, 5, 0, 2, -kFar, kFar}, {0, 5, 2, 5, 0, kFar}}},
          {"rows 0 and 1 see nothing", mqa, {{0, 5, 0, 5, 2, kFar}}},
          {"rows 2 and 3 see nothing", mha, {{0, 2, 0, 7, 0, kFar}, {4, 7, 0, 7, 0, 3}}},
          {"no slices", mqa, kNoSlices},
          {"overlapping slices count once", mqa, {{0, 5, 0, 5, 0, 2}, {2, 5, 0, 5, 1, kFar}}},
          {"cross, all keys", cross, {{0, 5, 0, 9, -kFar, kFar}}},
          {"cross, band around the diagonal", cross, {{0, 5, 0, 9, -2, 1}}},
          {"more queries than keys", short_keys, {{0, 8, 0, 3, 0, kFar}}},
          {"window beyond the keys", short_keys, {{0, 8, 0, 3, 0, 1}}}};
}

struct AttentionInputs {
  Doubles q, k, v, dout;
};

AttentionInputs random_inputs(const AttentionShape& s, uint64_t seed, double range) {
  return {.q = random(s.B * s.Sq * s.H * s.Dqk, seed, -range, range),
          .k = random(s.B * s.Sk * s.K * s.Dqk, seed + 1, -range, range),
          .v = random(s.B * s.Sk * s.K * s.Dv, seed + 2),
          .dout = random(s.B * s.Sq * s.H * s.Dv, seed + 3)};
}

TEST(OracleAttention, VisibleKeysAreThoseSeen) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min(), kMax = std::numeric_limits<int64_t>::max();
  std::vector<std::vector<Slice>> lists = {
      {{0, kMax, 0, kMax, kMin, kMax}},    {{0, kMax, 0, kMax, 0, kMax}},
      {{kMin, kMax, kMin, kMax, kMin, 0}}, {{0, 9, 0, 9, 3, 1}},
      {{2, 1, 0, 9, -kFar, kFar}},         {{0, 9, 0, 9, kFar, kFar}, {3, 5, 4, 6, -2, 2}}};
  for (const AttentionCase& c : attention_cases()) lists.push_back(c.slices);
  for (const auto& slices : lists) {
    for (int64_t i = 0; i < 9; ++i) {
      std::vector<int64_t> seen;
      for (int64_t j = 0; j < 8; ++j)
        if (sees(slices, i, j)) seen.push_back(j);
      EXPECT_EQ(visible_keys(slices, i, 8), seen) << "row " << i;
    }
  }
}

TEST(OracleAttention, GradientsEqualCentralDifferences) {
  for (const AttentionCase& c : attention_cases()) {
    const AttentionInputs x = random_inputs(c.shape, 7, 1.0);
    const auto objective = [&](const Doubles& q, const Doubles& k, const Doubles& v) {
      return inner(attention<double>(q, k, v, x.dout, c.shape, c.slices, 0.6).out, x.dout);
    };
    const auto r = attention<double>(x.q, x.k, x.v, x.dout, c.shape, c.slices, 0.6);
    expect_gradient(r.dq, x.q, c.name + " dq", [&](const Doubles& q) { return objective(q, x.k, x.v); });
    expect_gradient(r.dk, x.k, c.name + " dk", [&](const Doubles& k) { return objective(x.q, k, x.v); });
    expect_gradient(r.dv, x.v, c.name + " dv", [&](const Doubles& v) { return objective(x.q, x.k, v); });
  }
}

TEST(OracleAttention, RowsThatSeeNothingAreZeroAndMinusInfinity) {
  for (const AttentionCase& c : attention_cases()) {
    const auto [B, Sq, Sk, H, K, Dqk, Dv] = c.shape;
    const AttentionInputs x = random_inputs(c.shape, 9, 1.0);
    const auto r = attention<double>(x.q, x.k, x.v, x.dout, c.shape, c.slices, 0.6);
    for (int64_t row = 0; row < B * Sq * H; ++row) {
      const int64_t b = row / (Sq * H), i = row / H % Sq, h = row % H;
      const bool blind = visible_keys(c.slices, i, Sk).empty();
      EXPECT_EQ(std::isinf(r.lse[(b * H + h) * Sq + i]), blind) << c.name;
      for (int64_t d = 0; d < Dv; ++d) EXPECT_EQ(r.out[row * Dv + d] == 0.0, blind) << c.name;
      for (int64_t d = 0; d < Dqk && blind; ++d) EXPECT_EQ(r.dq[row * Dqk + d], 0.0) << c.name;
    }
    for (const Doubles* all : {&r.out, &r.dq, &r.dk, &r.dv})
      for (const double value : *all) EXPECT_TRUE(std::isfinite(value)) << c.name;
  }
}

/// u = 6e-8. A sum of 40 terms near 1 may be off by 40 u = 2.4e-6, of 80 terms (gradients of a shared key) by twice
/// that; rounding errors cancel, so that 3e-7 to 1e-6 is observed.
TEST(OracleAttention, FloatIsCloseToDouble) {
  const AttentionShape shape{.B = 2, .Sq = 40, .Sk = 40, .H = 4, .K = 2, .Dqk = 16, .Dv = 16};
  const std::vector<Slice> causal = {{0, 40, 0, 40, 0, kFar}};
  const AttentionInputs x = random_inputs(shape, 11, 2.0);
  const auto exact = attention<double>(x.q, x.k, x.v, x.dout, shape, causal, 0.25);
  const auto plain = attention<float>(x.q, x.k, x.v, x.dout, shape, causal, 0.25f);
  EXPECT_LE(worst_error(plain.out, exact.out), 2e-6);
  EXPECT_LE(worst_error(plain.lse, exact.lse), 2e-6);
  EXPECT_LE(worst_error(plain.dq, exact.dq), 4e-6);
  EXPECT_LE(worst_error(plain.dk, exact.dk), 4e-6);
  EXPECT_LE(worst_error(plain.dv, exact.dv), 4e-6);
  EXPECT_GT(worst_error(plain.out, exact.out), 1e-9) << "float arithmetic must not be double in disguise";
}

TEST(OracleAttention, WrongShapesThrow) {
  const AttentionShape shape{.B = 1, .Sq = 2, .Sk = 2, .H = 1, .K = 1, .Dqk = 1, .Dv = 1};
  EXPECT_THROW(attention<double>({1}, {1, 2}, {1, 2}, {1, 2}, shape, kNoSlices, 1.0), std::invalid_argument);
}

TEST(OracleVectors, WorstErrorForgivesOnlySharedMinusInfinity) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(worst_error<double>({1.0, -kInfinity, 5.0}, {1.5, -kInfinity, 4.75}), 0.5);
  EXPECT_EQ(worst_error<double>({1.0}, {-kInfinity}), kInfinity);
  EXPECT_EQ(worst_error<double>({-kInfinity}, {1.0}), kInfinity);
  EXPECT_EQ(worst_error<double>({kNan}, {1.0}), kInfinity);
  EXPECT_EQ(worst_error<double>({kNan}, {kNan}), kInfinity);
  EXPECT_THROW(worst_error<double>({1.0}, {1.0, 2.0}), std::invalid_argument);
}

// ---- layers.h: known answers of each forward, then central differences of sum(y * dy)

TEST(OracleLayers, ForwardsByHand) {
  // mean(x^2) = (9 + 16) / 2 + 12.5 (eps) = 25, rstd = 1/5.
  const auto norm = rms_norm_forward<double>({3, 4}, {10, 20}, 12.5);
  expect_by_hand(norm.y, {6.0, 16.0}, "rms_norm y");
  expect_by_hand(norm.rstd, {0.2}, "rms_norm rstd");
  // D = 4, base 100: angles position * (1, 1/10). The pairs are (x0, x2) and (x1, x3); at position 0 nothing turns.
  const double c = std::cos(3.0), s = std::sin(3.0), c10 = std::cos(0.3), s10 = std::sin(0.3);
  const Doubles turned = {5, 6, 7, 8, c - 3 * s, 2 * c10 - 4 * s10, 3 * c + s, 4 * c10 + 2 * s10};
  expect_by_hand(rope_forward<double>({5, 6, 7, 8, 1, 2, 3, 4}, {0, 3}, 1, 4, 100.0), turned, "rope");
  // sigmoid(ln 3) = 3/4.
  expect_by_hand(swiglu_forward<double>({0, std::log(3.0)}, {9, 2}), {0.0, 1.5 * std::log(3.0)}, "swiglu");
  expect_by_hand(embedding_forward<double>({1, 2, 3, 4, 5, 6}, {2, 0, 2}, 2), {5, 6, 1, 2, 5, 6}, "embedding");
  expect_by_hand(embedding_backward<double>({2, 0, 2}, {1, 2, 3, 4, 5, 6}, 3, 2), {3, 4, 0, 0, 6, 8},
                 "embedding backward");
  // W is (out = 3, in = 2).
  expect_by_hand(linear_forward<double>({1, 10, 2, 20}, {1, 2, 3, 4, 5, 6}, 2), {21, 43, 65, 42, 86, 130}, "linear");
  // Row 0: softmax (1/4, 3/4), label 0. Row 1 is not counted. Row 2: softmax (1/2, 1/2), label 1.
  const auto loss = cross_entropy<double>({0, std::log(3.0), 7, 7, 5, 5}, {0, -1, 1}, 2, 8.0);
  EXPECT_NEAR(loss.loss_sum, std::log(4.0) + std::log(2.0), kByHand);
  EXPECT_EQ(loss.num_labels, 2);
  expect_by_hand(loss.dlogits, {-6, 6, 0, 0, 4, -4}, "cross_entropy dlogits");
}

/// Step 1 from zero moments: mhat = g, vhat = g^2, hence w - lr (g / (|g| + eps) + decay w), here with |g| + eps = 2
/// + 2. Step 2, beta1 = 1/2, beta2 = 3/4, m = 1, v = 1, g = 3: m = 2, v = 3, mhat = 2 / (3/4) = 8/3, vhat = 3 / (7/16)
/// = 48/7.
TEST(OracleLayers, AdamwByHand) {
  const AdamwOptions decaying{.learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 2, .decay = 0.3, .step = 1};
  const auto first = adamw<double>({10}, {0}, {0}, {2}, decaying);
  expect_by_hand(first.w, {10 - 0.1 * (2.0 / 4 + 3)}, "w after one step");
  expect_by_hand(first.m, {0.2}, "m after one step");
  expect_by_hand(first.v, {0.04}, "v after one step");
  const AdamwOptions plain{.learning_rate = 0.1, .beta1 = 0.5, .beta2 = 0.75, .eps = 1, .decay = 0, .step = 2};
  const auto second = adamw<double>({10}, {1}, {1}, {3}, plain);
  expect_by_hand(second.w, {10 - 0.1 * (8.0 / 3) / (std::sqrt(48.0 / 7) + 1)}, "w after two steps");
}

TEST(OracleLayers, BackwardsEqualCentralDifferences) {
  constexpr double kEps = 1e-3, kBase = 50.0;
  const Doubles x = random(3 * 8, 1), dy = random(3 * 8, 2), gain = random(8, 3, 0.5, 1.5), up = random(3 * 8, 4);
  const auto norm = rms_norm_backward<double>(x, gain, dy, kEps);
  const auto normed = [&](const Doubles& at, const Doubles& gain_at) {
    return inner(rms_norm_forward<double>(at, gain_at, kEps).y, dy);
  };
  expect_gradient(norm.dx, x, "rms_norm dx", [&](const Doubles& at) { return normed(at, gain); });
  expect_gradient(norm.dgain, gain, "rms_norm dgain", [&](const Doubles& at) { return normed(x, at); });
  const std::vector<int64_t> positions = {0, 2, 40};  // x is (B=1, tokens=3, heads=2, D=4)
  expect_gradient(rope_backward<double>(dy, positions, 2, 4, kBase), x, "rope",
                  [&](const Doubles& at) { return inner(rope_forward<double>(at, positions, 2, 4, kBase), dy); });
  const auto glu = swiglu_backward<double>(x, up, dy);
  expect_gradient(glu.dgate, x, "swiglu dgate",
                  [&](const Doubles& at) { return inner(swiglu_forward<double>(at, up), dy); });
  expect_gradient(glu.dup, up, "swiglu dup",
                  [&](const Doubles& at) { return inner(swiglu_forward<double>(x, at), dy); });
  const std::vector<int64_t> tokens = {4, 0, 4};
  expect_gradient(embedding_backward<double>(tokens, dy, 5, 8), random(5 * 8, 5), "embedding",
                  [&](const Doubles& at) { return inner(embedding_forward<double>(at, tokens, 8), dy); });
  const Doubles w = random(5 * 8, 6), dy_wide = random(3 * 5, 7);
  const auto linear = linear_backward<double>(x, w, dy_wide, 8);
  expect_gradient(linear.dx, x, "linear dx",
                  [&](const Doubles& at) { return inner(linear_forward<double>(at, w, 8), dy_wide); });
  expect_gradient(linear.dw, w, "linear dw",
                  [&](const Doubles& at) { return inner(linear_forward<double>(x, at, 8), dy_wide); });
  const std::vector<int64_t> labels = {7, -1, 0};
  expect_gradient(cross_entropy<double>(x, labels, 8, 0.3).dlogits, x, "cross_entropy",
                  [&](const Doubles& at) { return 0.3 * cross_entropy<double>(at, labels, 8, 0.3).loss_sum; });
}

// ---- tape.h

/// f on Vars gives value and gradient on the tape; its value() in a fresh scope gives the differences.
void expect_tape_gradient(const Doubles& x, const std::string& what,
                          const std::function<Var(const std::vector<Var>&)>& f) {
  Doubles gradient;
  {
    const TapeScope scope;
    const std::vector<Var> leaves = converted<Var>(x);
    backward(f(leaves));
    for (const Var& leaf : leaves) gradient.push_back(leaf.gradient());
  }
  const auto value = [&](const Doubles& at) {
    const TapeScope scope;
    return f(converted<Var>(at)).value();
  };
  expect_gradient(gradient, x, what, value);
}

TEST(OracleTape, OperationsEqualCentralDifferences) {
  const Doubles x = random(12, 21, 0.5, 1.5);
  using Vars = std::vector<Var>;
  expect_tape_gradient(x, "+", [](const Vars& v) { return v[0] + v[1] + 2.0; });
  expect_tape_gradient(x, "-", [](const Vars& v) { return 3.0 - v[0] - (-v[1]); });
  expect_tape_gradient(x, "*", [](const Vars& v) { return 2.0 * v[0] * v[1] * v[0]; });
  expect_tape_gradient(x, "/", [](const Vars& v) { return v[0] / v[1] / v[2]; });
  expect_tape_gradient(x, "exp", [](const Vars& v) { return exp(v[0] * v[1]); });
  expect_tape_gradient(x, "log", [](const Vars& v) { return log(v[0] + v[1]); });
  expect_tape_gradient(x, "sqrt", [](const Vars& v) { return sqrt(v[0] * v[1]); });
  expect_tape_gradient(x, "dot with strides", [](const Vars& v) { return exp(dot(v.data(), 1, v.data() + 4, 3, 3)); });
  expect_tape_gradient(x, "dot with itself", [](const Vars& v) { return dot(v.data(), 1, v.data(), 1, 12); });
  expect_tape_gradient(x, "dot reused, and of nothing", [](const Vars& v) {
    return dot(v.data(), 2, v.data() + 1, 2, 4) * v[0] + dot(v.data(), 1, v.data(), 1, 0);
  });
  expect_tape_gradient(x, "a sum used twice", [](const Vars& v) {
    Var sum = 0.0;
    for (const Var& each : v) sum += each * each;
    return sum / sqrt(sum);
  });
}

// ---- transformer.h

TransformerShape tiny_shape(bool tied) {
  return {2, 5, 4,    2,     4,
          6, 9, tied, 100.0, 1e-3};  // layers, width, heads, kv_heads, head_dim, ffn, vocab, tied, rope_base, norm_eps
}

Parameters random_parameters(const TransformerShape& shape) {
  Parameters parameters;
  uint64_t seed = 100;
  for (const auto& [name, dims] : parameter_shapes(shape)) {
    const bool gain = dims.size() == 1;
    const int64_t size = std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
    parameters[name] = random(size, ++seed, gain ? 0.5 : -0.5, gain ? 1.5 : 0.5);
  }
  return parameters;
}

/// Every fifth label is not counted.
TokenBatch random_batch(int64_t B, int64_t S, int64_t vocab) {
  TokenBatch batch{.B = B, .S = S, .tokens = {}, .labels = {}};
  for (int64_t n = 0; n < B * S; ++n) {
    batch.tokens.push_back((n * n + 3 * n + 1) % vocab);
    batch.labels.push_back(n % 5 == 4 ? -1 : (7 * n * n + 2) % vocab);
  }
  return batch;
}

/// Two documents whose first query sees nothing at all (a band that starts at distance 1).
const std::vector<Slice> kBlindDocuments = {{0, 3, 0, 3, 1, kFar}, {3, 7, 3, 7, 1, kFar}};

void expect_model_gradients(const TransformerShape& shape, const TokenBatch& batch, const std::vector<Slice>& slices) {
  const Parameters parameters = random_parameters(shape);
  const LossAndGradients result = loss_and_gradients(shape, parameters, batch, slices);
  EXPECT_EQ(result.loss, loss(shape, parameters, batch, slices)) << "the tape rounds like the loop";
  ASSERT_EQ(result.gradients.size(), parameters.size());
  for (const auto& entry : parameters) {
    const std::string& name = entry.first;
    Parameters varied = parameters;
    const auto loss_at = [&](const Doubles& at) {
      varied.at(name) = at;
      return loss(shape, varied, batch, slices);
    };
    expect_gradient(result.gradients.at(name), entry.second, name, loss_at);
  }
}

TEST(OracleTransformer, GradientsEqualCentralDifferences) {
  expect_model_gradients(tiny_shape(false), random_batch(2, 4, 9), {{0, 4, 0, 4, 0, kFar}});
  expect_model_gradients(tiny_shape(true), random_batch(1, 5, 9), kBlindDocuments);
}

/// The same model put together from layers.h and attention.h, which share no code with transformer.h except
/// visible_keys().
double loss_of_layers(const TransformerShape& shape, const Parameters& p, const TokenBatch& batch,
                      const std::vector<Slice>& slices) {
  const auto [L, C, H, K, D, F, V, tied, base, eps] = shape;
  const AttentionShape heads{.B = batch.B, .Sq = batch.S, .Sk = batch.S, .H = H, .K = K, .Dqk = D, .Dv = D};
  std::vector<int64_t> positions(static_cast<size_t>(batch.S));
  std::iota(positions.begin(), positions.end(), 0);
  Doubles x = embedding_forward<double>(p.at("embedding"), batch.tokens, C);
  for (int64_t i = 0; i < L; ++i) {
    const auto w = [&](const std::string& name) { return p.at("layers/" + std::to_string(i) + "/" + name); };
    const Doubles in = rms_norm_forward<double>(x, w("attention_norm"), eps).y;
    const Doubles q = rope_forward<double>(linear_forward<double>(in, w("attention/q_proj"), C), positions, H, D, base);
    const Doubles k = rope_forward<double>(linear_forward<double>(in, w("attention/k_proj"), C), positions, K, D, base);
    const Doubles v = linear_forward<double>(in, w("attention/v_proj"), C), dout(q.size());
    const Doubles mixed = attention<double>(q, k, v, dout, heads, slices, 1.0 / std::sqrt(static_cast<double>(D))).out;
    decoder::add_to(x, linear_forward<double>(mixed, w("attention/out_proj"), H * D));
    const Doubles mlp_in = rms_norm_forward<double>(x, w("mlp_norm"), eps).y;
    const Doubles gate = linear_forward<double>(mlp_in, w("mlp/gate_proj"), C),
                  up = linear_forward<double>(mlp_in, w("mlp/up_proj"), C);
    decoder::add_to(x, linear_forward<double>(swiglu_forward<double>(gate, up), w("mlp/down_proj"), F));
  }
  const Doubles normed = rms_norm_forward<double>(x, p.at("final_norm"), eps).y;
  const auto sum =
      cross_entropy<double>(linear_forward<double>(normed, p.at(tied ? "embedding" : "head"), C), batch.labels, V, 1.0);
  return sum.loss_sum / static_cast<double>(sum.num_labels);
}

TEST(OracleTransformer, LossEqualsTheLayersPutTogether) {
  const TokenBatch batch = random_batch(2, 7, 9);
  for (const bool tied : {false, true}) {
    for (const auto& slices : {std::vector<Slice>{{0, 7, 0, 7, 0, kFar}}, kBlindDocuments}) {
      const TransformerShape shape = tiny_shape(tied);
      const Parameters p = random_parameters(shape);
      const double exact = loss(shape, p, batch, slices);
      EXPECT_NEAR(exact, loss_of_layers(shape, p, batch, slices), kByHand);
      EXPECT_NEAR(exact, loss_fp32(shape, p, batch, slices), 5e-6) << "some 80 roundings of 6e-8";
      EXPECT_NE(exact, loss_fp32(shape, p, batch, slices)) << "float arithmetic must not be double in disguise";
    }
  }
}

TEST(OracleTransformer, EqualLogitsLoseLogV) {
  TransformerShape shape = tiny_shape(true);
  Parameters parameters = random_parameters(shape);
  for (double& gain : parameters.at("final_norm")) gain = 0.0;
  EXPECT_NEAR(loss(shape, parameters, random_batch(1, 4, 9), {{0, 4, 0, 4, 0, kFar}}), std::log(9.0), kByHand);
}

TEST(OracleTransformer, NamesAndSizesAreChecked) {
  const TransformerShape shape = tiny_shape(true);
  Parameters parameters = random_parameters(shape);
  EXPECT_EQ(parameters.count("head"), 0u);
  parameters["head"] = {1.0};
  EXPECT_THROW(loss(shape, parameters, random_batch(1, 4, 9), kNoSlices), std::invalid_argument);
  parameters.erase("head");
  parameters.at("layers/1/mlp/up_proj").pop_back();
  EXPECT_THROW(loss(shape, parameters, random_batch(1, 4, 9), kNoSlices), std::invalid_argument);
}

}  // namespace
}  // namespace oracle
