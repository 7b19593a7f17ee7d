#pragma once
// Attention problems with numbers at the edges of f32 and of the kernel's own constants, and masks that leave ranks
// with nothing to see.
#include <functional>

#include "tests/support/attention_case.h"

namespace annulus::test {

struct NamedCase {
  std::string name;
  AttentionCase problem;
};

namespace detail {

constexpr int64_t kTokens = 133, kHeads = 2, kWidth = 16,
                  kValueWidth = 8;                      // three blocks of queries, two tiles of keys
const std::vector<int64_t> kStrides = {1, 2, 3, 4, 5};  // of the rings below: some of these sums cancel by neighbours
using Value = std::function<double(int64_t row, int64_t column)>;

/// One key/value head for two query heads; causal unless said otherwise.
inline AttentionCase ordinary(uint64_t seed = 31) {
  return make_attention_case({1, kTokens, kTokens, kHeads, 1, kWidth, kValueWidth}, causal_mask(kTokens, kTokens),
                             seed);
}

inline void fill(std::vector<double>& x, int64_t width, const Value& value) {
  for (size_t i = 0; i < x.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    x[i] = static_cast<float>(value(at / width, at % width));
  }
}

inline void multiply(std::vector<double>& x, double factor) {
  for (double& value : x) value = static_cast<float>(value * factor);
}

inline double sign(int64_t n) { return n % 2 == 0 ? 1.0 : -1.0; }

/// Every score is the t of its key, exactly, in the kernel's own unit, the logarithm to base 2.
inline void set_log2_scores(AttentionCase& c, const std::function<double(int64_t key)>& t) {
  c.scale = 0x1.62e43p-1f;  // ln 2: times log2(e), rounded to f32, it is 1
  fill(c.q, kWidth, [](int64_t, int64_t d) { return d == 0 ? 1.0 : 0.0; });
  fill(c.k, kWidth, [&](int64_t j, int64_t d) { return d == 0 ? t(j) : 0.0; });
}

}  // namespace detail

/// Inputs that strain the softmax: its reference maximum, its sum, and what backward makes of them.
inline std::vector<NamedCase> hard_scores() {
  using namespace detail;
  std::vector<NamedCase> all;
  auto add = [&](const std::string& name, const std::function<void(AttentionCase&)>& change) {
    all.push_back({name, ordinary(31 + all.size())});
    change(all.back().problem);
    solve(all.back().problem, kStrides);
  };
  for (const double direction : {1.0, -1.0}) {
    const std::string way = direction > 0 ? "growing" : "shrinking";
    add(way + " scores", [&](AttentionCase& c) {
      fill(c.q, kWidth, [](int64_t i, int64_t d) { return 0.5 + 0.1 * static_cast<double>((i + d) % 7); });
      fill(c.k, kWidth, [&](int64_t j, int64_t) { return direction * 0.1 * static_cast<double>(j); });
    });
  }
  add("scores of 1e4", [](AttentionCase& c) { multiply(c.q, 100), multiply(c.k, 100); });
  add("all inputs of 1e4", [](AttentionCase& c) {
    for (auto* x : {&c.q, &c.k, &c.v, &c.dout}) multiply(*x, 1e4);
  });
  add("all inputs +-12345.678", [](AttentionCase& c) {
    for (auto* x : {&c.q, &c.k, &c.v, &c.dout})
      for (double& value : *x) value = value > 0 ? 12345.678f : -12345.678f;  // inexact products
  });
  add("one huge key", [](AttentionCase& c) {
    for (int64_t d = 0; d < kWidth; ++d) c.k[static_cast<size_t>(70 * kWidth + d)] = 1e4 * sign(d);
  });
  add("identical keys", [](AttentionCase& c) { fill(c.k, kWidth, [](int64_t, int64_t d) { return 0.3 * sign(d); }); });
  for (const double size : {1e3, 1e6, 1e9, 1e15})
    add("identical keys of " + std::to_string(size), [&](AttentionCase& c) {
      fill(c.q, kWidth, [&](int64_t i, int64_t d) { return size * (1.0 + 0.01 * static_cast<double>((i + d) % 5)); });
      fill(c.k, kWidth, [&](int64_t, int64_t) { return size; });
    });
  add("alternating keys, tiny queries, huge values", [](AttentionCase& c) {
    fill(c.k, kWidth, [](int64_t j, int64_t) { return 1e4 * sign(j); });
    multiply(c.q, 1e-5);
    fill(c.v, kValueWidth, [](int64_t j, int64_t d) { return 1e4 * sign(j + d); });
  });
  add("scale 0", [](AttentionCase& c) { c.scale = 0.0; });
  add("scale 1e4", [](AttentionCase& c) { c.scale = 1e4f; });
  add("scale -1", [](AttentionCase& c) { c.scale = -1.0; });
  // The kernel raises its reference where a score exceeds it by more than 10: 2^10 is the largest exponential.
  for (const double step : {10.0, std::nextafter(10.0f, 0.0f) + 0.0, std::nextafter(10.0f, 11.0f) + 0.0, 20.0, 130.0})
    add("steps of " + std::to_string(step - 10.0) + " above the lazy threshold",
        [&](AttentionCase& c) { set_log2_scores(c, [&](int64_t j) { return step * static_cast<double>(j / 45); }); });
  add("one late key far above the threshold", [](AttentionCase& c) {
    set_log2_scores(c, [](int64_t j) { return j == kTokens - 1 ? 1024.0 : j == 64 ? 10.0 : 0.0; });
  });
  return all;
}

/// Inputs at the small end of f32, and gradients at both ends.
inline std::vector<NamedCase> hard_magnitudes() {
  using namespace detail;
  std::vector<NamedCase> all;
  auto add = [&](const std::string& name, const std::function<void(AttentionCase&)>& change) {
    all.push_back({name, ordinary(61 + all.size())});
    change(all.back().problem);
    solve(all.back().problem, kStrides);
  };
  add("subnormal queries", [](AttentionCase& c) { multiply(c.q, 1e-40); });
  add("subnormal keys", [](AttentionCase& c) { multiply(c.k, 1e-40); });
  add("subnormal values", [](AttentionCase& c) { multiply(c.v, 1e-40); });
  add("subnormal gradients", [](AttentionCase& c) { multiply(c.dout, 1e-40); });
  add("everything subnormal", [](AttentionCase& c) {
    for (auto* x : {&c.q, &c.k, &c.v, &c.dout}) multiply(*x, 1e-40);
  });
  add("the smallest numbers", [](AttentionCase& c) {
    for (auto* x : {&c.q, &c.k, &c.v, &c.dout})
      for (double& value : *x) value = value > 0 ? 0x1p-149 : -0x1p-149;
  });
  add("subnormal queries, huge keys", [](AttentionCase& c) { multiply(c.q, 1e-39), multiply(c.k, 1e36); });
  add("weights that underflow under huge values", [](AttentionCase& c) {
    set_log2_scores(c, [](int64_t j) { return static_cast<double>(-j); });  // down to 2^-132
    fill(c.v, kValueWidth, [](int64_t j, int64_t d) { return j > 110 ? 1e35 * sign(d) : 1.0; });
  });
  add("all zero", [](AttentionCase& c) {
    for (auto* x : {&c.q, &c.k, &c.v, &c.dout}) multiply(*x, 0.0);
  });
  add("no gradient", [](AttentionCase& c) { multiply(c.dout, 0.0); });
  add("gradients of 1e30", [](AttentionCase& c) { multiply(c.dout, 1e30); });
  add("values of 1e30", [](AttentionCase& c) { multiply(c.v, 1e30), multiply(c.dout, 1e-30); });
  add("queries of 1e-18, keys of 1e18", [](AttentionCase& c) { multiply(c.q, 1e-18), multiply(c.k, 1e18); });
  return all;
}

/// Masks that leave rows, blocks of queries or whole ranks nothing to see, with scores that grow, so that the first
/// score a row sees in a late visit raises its reference.
inline std::vector<NamedCase> hard_masks() {
  using namespace detail;
  constexpr int64_t S = kTokens, half = S / 2, all_back = kUnbounded;
  std::vector<int64_t> single;
  for (int64_t i = 1; i <= half; ++i) single.push_back(i);
  std::vector<int64_t> single_then_one = single;
  single_then_one.push_back(S);
  const std::vector<NamedMask> masks = {
      {"the first half sees nothing and is not seen", {{half, S, half, S, 0, kUnbounded}}},
      {"the second half sees nothing and is not seen", {{0, half, 0, half, 0, kUnbounded}}},
      {"documents of one token, then one long one", document_mask(single_then_one)},
      {"only the last key is seen", {{0, S, S - 1, S, -kUnbounded, all_back}}},
      {"only the first key is seen", {{0, S, 0, 1, -kUnbounded, all_back}}},
      {"only the last query sees", {{S - 1, S, 0, S, -kUnbounded, all_back}}},
      {"every query sees later keys only", {{0, S, 0, S, -kUnbounded, -1}}},
      {"every query sees the key half a sequence before", {{0, S, 0, S, half, half}}},
      {"a band of later keys first, then one of earlier", {{0, S, 0, S, -S, -40}, {0, S, 0, S, 50, 60}}},
      {"nothing", {}}};
  std::vector<NamedCase> all;
  for (const NamedMask& m : masks) {
    all.push_back({m.name, ordinary(81 + all.size())});
    AttentionCase& c = all.back().problem;
    c.mask = m.mask;
    fill(c.q, kWidth, [](int64_t i, int64_t d) { return 0.5 + 0.1 * static_cast<double>((i + d) % 7); });
    for (size_t i = 0; i < c.k.size(); ++i)
      c.k[i] = static_cast<float>(c.k[i] + 0.05 * static_cast<double>(i / static_cast<size_t>(kWidth)));
    solve(c, kStrides);
  }
  return all;
}

inline std::vector<NamedCase> adversarial_cases() {
  std::vector<NamedCase> all = hard_scores();
  for (const auto& more : {hard_magnitudes(), hard_masks()}) all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace annulus::test
