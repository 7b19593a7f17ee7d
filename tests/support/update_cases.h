#pragma once
// Inputs of the loss and of the update, and what the fp64 oracle says of them: shared by the tests of every backend.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/layer_cases.h"

namespace annulus::test {

/// Logits and losses are f32, their gradient of `dtype`.
struct CrossEntropyCase {
  int64_t N, V;
  Dtype dtype;
  std::string what;
  std::vector<double> logits;
  std::vector<int64_t> labels;
  double scale;
  bool one_size = false;  // limits go by the largest logit of all

  /// One label is -1.
  CrossEntropyCase(int64_t tokens, int64_t vocabulary, double spread, Dtype type)
      : N(tokens),
        V(vocabulary),
        dtype(type),
        what(named(type, "cross entropy V " + std::to_string(vocabulary))),
        logits(random_normal(N * V, 14, spread)),
        labels(random_below(N, V, 15)),
        scale(1.0 / 8.0),
        spread_(spread) {
    labels[static_cast<size_t>(N / 3)] = -1;
  }
  CrossEntropyCase(const std::string& name, std::vector<double> z, std::vector<int64_t> label_of_token)
      : N(static_cast<int64_t>(label_of_token.size())),
        V(static_cast<int64_t>(z.size()) / N),
        dtype(Dtype::kF32),
        what("cross entropy, logits " + name),
        logits(std::move(z)),
        labels(std::move(label_of_token)),
        scale(0.25),
        one_size(true) {}

  /// The limit is that of the sum over the tokens.
  void expect_losses(const std::vector<double>& losses) const {
    const auto exact = oracle::cross_entropy<double>(logits, labels, V, scale);
    const auto plain = oracle::cross_entropy<float>(logits, labels, V, scale);
    double sum_of_losses = 0.0, terms = one_size ? static_cast<double>(N) * largest_term() : 0.0;
    for (size_t n = 0; n < losses.size(); ++n) {
      sum_of_losses += losses[n];
      if (!one_size) terms += std::abs(losses[n]) + spread_ * 4;
      EXPECT_TRUE(labels[n] >= 0 || losses[n] == 0.0) << what;
    }
    expect_close({sum_of_losses}, {exact.loss_sum},
                 twice_error_of(std::vector<float>{plain.loss_sum}, {exact.loss_sum}, {terms}), what);
  }

  void expect_dlogits(const std::vector<double>& dlogits) const {
    const auto exact = oracle::cross_entropy<double>(logits, labels, V, scale);
    const auto plain = oracle::cross_entropy<float>(logits, labels, V, scale);
    // A weight moves by its own rounding and that of its logit. Of logits so large that rounding one moves it by more
    // than 1, a weight may be anything from 0 to 1.
    std::vector<double> terms(logits.size(), scale * std::min(largest_term(), 1 / kUnitRoundoff));
    if (!one_size)
      for (size_t i = 0; i < terms.size(); ++i) terms[i] = scale * (1.0 + std::abs(logits[i]));
    expect_close(dlogits, exact.dlogits, rounded_to(dtype, twice_error_of(plain.dlogits, exact.dlogits, terms)),
                 what + " dlogits");
  }

 private:
  // The loss of a row is of the size of its logits.
  double largest_term() const {
    double largest = 0.0;
    for (const double logit : logits) largest = std::max(largest, 1.0 + std::abs(logit));
    return largest;
  }
  double spread_ = 1.0;
};

/// Logits at the edges of f32.
inline std::vector<CrossEntropyCase> huge_equal_and_tiny_logits() {
  const int64_t N = 4, V = 37;
  const std::vector<int64_t> labels = {0, 5, V - 1, 17};
  std::vector<double> alternating, equal(static_cast<size_t>(N * V), 1e4), one_high(equal.size(), -1e4);
  for (int64_t i = 0; i < N * V; ++i) alternating.push_back(i % 2 == 0 ? 1e4 : -1e4);
  for (int64_t n = 0; n < N; ++n) one_high[static_cast<size_t>(n * V + 5)] = 1e4;
  const auto random = random_normal(N * V, 4);
  return {{"alternating", alternating, labels},
          {"equal", equal, labels},
          {"one high", one_high, labels},
          {"of 1e4", times(random, 1e4), labels},
          {"of 1e30", times(random, 1e30), labels},
          {"subnormal", times(random, 1e-40), labels},
          {"near underflow", times(random, 60), labels},
          {"zero", times(random, 0.0), labels}};
}

struct AdamwCase {
  int64_t n, step;
  std::vector<double> w, m, v, gradient;
  static constexpr float kLearningRate = 1e-2f, kBeta1 = 0.9f, kBeta2 = 0.95f, kEpsilon = 1e-8f, kDecay = 0.1f;
  double clip = 1.0;  // what the gradient is multiplied by

  AdamwCase(int64_t size, int64_t t)
      : n(size),
        step(t),
        w(random_normal(n, 16)),
        m(random_normal(n, 17, 0.1)),
        v(random_normal(n, 18, 0.1)),
        gradient(random_normal(n, 19)) {
    for (double& x : v) x = std::abs(x);
  }

  void expect_updated(const std::vector<double>& master, const std::vector<double>& m_after,
                      const std::vector<double>& v_after) const {
    const oracle::AdamwOptions options = {kLearningRate, kBeta1, kBeta2, kEpsilon, kDecay, step};
    auto clipped = gradient;
    for (double& g : clipped) g *= clip;
    const auto exact = oracle::adamw<double>(w, m, v, clipped, options);
    const auto plain = oracle::adamw<float>(w, m, v, clipped, options);
    expect_close(master, exact.w, twice_error_of(plain.w, exact.w), "adamw w");
    expect_close(m_after, exact.m, twice_error_of(plain.m, exact.m), "adamw m");
    expect_close(v_after, exact.v, twice_error_of(plain.v, exact.v), "adamw v");
  }
};

}  // namespace annulus::test
