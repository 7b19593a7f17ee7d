#pragma once
// Inputs of the layers around attention, and what the fp64 oracle says of them: shared by the tests of every backend.
// Weights and activations are what their dtype holds; kernels compute in f32 and round results once.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/oracle/layers.h"
#include "tests/support/close.h"
#include "tests/support/random.h"

namespace annulus::test {

inline std::vector<double> sum(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

/// As floats hold them.
inline std::vector<double> times(std::vector<double> x, double factor) {
  for (double& value : x) value = static_cast<float>(value * factor);
  return x;
}

inline std::vector<double> to_doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

/// The limit of a result of this dtype whose limit in f32 is known.
inline Tolerance rounded_to(Dtype dtype, Tolerance limit) {
  return dtype == Dtype::kBf16 ? rounded_to_bf16(limit) : limit;
}

inline std::string named(Dtype dtype, const std::string& what) { return (dtype == Dtype::kBf16 ? "bf16 " : "") + what; }

struct NormCase {
  int64_t N, C;
  Dtype dtype;
  double epsilon;
  std::vector<double> x, gain, dy, residual, dgain_before;

  NormCase(int64_t rows, int64_t columns, Dtype type, double eps = 1e-5f)
      : N(rows),
        C(columns),
        dtype(type),
        epsilon(eps),
        x(rounded_to(type, random_normal(N * C, 1))),
        gain(rounded_to(type, random_normal(C, 2))),
        dy(rounded_to(type, random_normal(N * C, 3))),
        residual(rounded_to(type, random_normal(N * C, 4))),
        dgain_before(random_normal(C, 5)) {}

  /// With nothing but the norm's own gradients.
  NormCase alone() && {
    residual.assign(x.size(), 0.0);
    dgain_before.assign(gain.size(), 0.0);
    return std::move(*this);
  }

  void expect_y(const std::vector<double>& y, const std::string& what = "") const {
    const auto exact = oracle::rms_norm_forward<double>(x, gain, epsilon);
    const auto plain = oracle::rms_norm_forward<float>(x, gain, epsilon);
    expect_close(y, exact.y, rounded_to(dtype, twice_error_of(plain.y, exact.y)), name(what) + " y");
  }

  void expect_gradients(const std::vector<double>& dx, const std::vector<double>& dgain,
                        const std::string& what = "") const {
    const auto rstd = oracle::rms_norm_forward<double>(x, gain, epsilon).rstd;
    const auto exact = oracle::rms_norm_backward<double>(x, gain, dy, epsilon);
    const auto plain = oracle::rms_norm_backward<float>(x, gain, dy, epsilon);
    // The terms dy * gain * rstd and the projection cancel (all of them where C = 1): one rounding of the terms.
    std::vector<double> terms(x.size()), column_terms(gain.size());
    for (size_t i = 0; i < terms.size(); ++i) {
      terms[i] = std::abs(residual[i]) + 4 * std::abs(dy[i] * gain[i % gain.size()] * rstd[i / gain.size()]);
      column_terms[i % gain.size()] += std::abs(dy[i] * x[i] * rstd[i / gain.size()]);
    }
    const auto dx_exact = sum(exact.dx, residual), dgain_exact = sum(exact.dgain, dgain_before);
    const auto dx_plain = sum(to_doubles(plain.dx), residual), dgain_plain = sum(to_doubles(plain.dgain), dgain_before);
    expect_close(dx, dx_exact, rounded_to(dtype, twice_error_of(dx_plain, dx_exact, terms)), name(what) + " dx");
    expect_close(dgain, dgain_exact, twice_error_of(dgain_plain, dgain_exact, column_terms), name(what) + " dgain");
  }

 private:
  std::string name(const std::string& what) const {
    return named(dtype, "rms_norm C " + std::to_string(C) + " N " + std::to_string(N) + what);
  }
};

/// Factors of rows whose squares f32 cannot sum, and of rows beside which epsilon is large.
constexpr double kHugeRows[] = {0x1p40, 0x1p64, 0x1p100, 0x1p120, 0x1p125};
constexpr double kTinyRows[] = {0.0, 0x1p-149, 1e-40, 1e-20};

/// The tokens of a sequence are far apart, so that angles are large.
struct RopeCase {
  int64_t B, T, H, D;
  Dtype dtype;
  std::vector<double> x;
  std::vector<int64_t> positions;
  static constexpr double kBase = 10000.0;

  RopeCase(int64_t sequences, int64_t tokens, int64_t heads, int64_t width, Dtype type)
      : B(sequences), T(tokens), H(heads), D(width), dtype(type), x(rounded_to(type, random_normal(B * T * H * D, 6))) {
    for (int64_t t = 0; t < T; ++t) positions.push_back(t * t * 977);
  }

  /// (T, D/2): the sines where `sine`, else the cosines.
  std::vector<double> angles(bool sine) const {
    std::vector<double> values;
    for (const int64_t position : positions)
      for (int64_t i = 0; i < D / 2; ++i) {
        const double angle =
            static_cast<double>(position) * std::pow(kBase, -2.0 * static_cast<double>(i) / static_cast<double>(D));
        values.push_back(sine ? std::sin(angle) : std::cos(angle));
      }
    return values;
  }

  void expect_turned(const std::vector<double>& y) const {
    expect_close(y, oracle::rope_forward<double>(x, positions, H, D, kBase), rounded_to(dtype, forward_limit()),
                 named(dtype, "rope"));
  }
  void expect_turned_back(const std::vector<double>& dx) const {
    const auto exact = oracle::rope_backward<double>(x, positions, H, D, kBase);
    const auto plain = oracle::rope_backward<float>(x, positions, H, D, kBase);
    expect_close(dx, exact, rounded_to(dtype, twice_error_of(plain, exact)), named(dtype, "rope backward"));
  }
  void expect_turned_both_ways(const std::vector<double>& same) const {
    Tolerance both_ways = {2.0 * forward_limit().absolute};
    if (dtype == Dtype::kBf16) {  // what the first way rounded of a pair is turned back with it
      double largest = 0.0;
      for (const double value : oracle::rope_forward<double>(x, positions, H, D, kBase))
        largest = std::max(largest, std::abs(value));
      both_ways.absolute += std::sqrt(2.0) * kBf16Roundoff * largest;
    }
    expect_close(same, x, rounded_to(dtype, both_ways), named(dtype, "rope and back"));
  }

 private:
  Tolerance forward_limit() const {
    return twice_error_of(oracle::rope_forward<float>(x, positions, H, D, kBase),
                          oracle::rope_forward<double>(x, positions, H, D, kBase));
  }
};

struct SwigluCase {
  int64_t N, F;
  Dtype dtype;
  std::string what;
  std::vector<double> gate, up, dy;
  bool rounds_exponents = false;  // gates so large that an exponential's own rounding counts

  SwigluCase(int64_t tokens, int64_t width, double spread, Dtype type)
      : N(tokens),
        F(width),
        dtype(type),
        what("swiglu"),
        gate(rounded_to(type, random_normal(N * F, 7, spread))),
        up(rounded_to(type, random_normal(N * F, 8))),
        dy(rounded_to(type, random_normal(N * F, 9))) {}
  /// Of one token in f32, with gates of any size.
  SwigluCase(std::string name, std::vector<double> gates, std::vector<double> ups, std::vector<double> dys)
      : N(1),
        F(static_cast<int64_t>(gates.size())),
        dtype(Dtype::kF32),
        what("swiglu " + std::move(name)),
        gate(std::move(gates)),
        up(std::move(ups)),
        dy(std::move(dys)),
        rounds_exponents(true) {}

  /// As the kernels take them: (N, 2F).
  std::vector<double> gate_up() const {
    std::vector<double> both;
    for (int64_t n = 0; n < N; ++n) {
      both.insert(both.end(), gate.begin() + n * F, gate.begin() + (n + 1) * F);
      both.insert(both.end(), up.begin() + n * F, up.begin() + (n + 1) * F);
    }
    return both;
  }

  void expect_y(const std::vector<double>& y) const {
    const auto exact = oracle::swiglu_forward<double>(gate, up);
    expect_close(y, exact, limit(oracle::swiglu_forward<float>(gate, up), exact), named(dtype, what));
  }
  void expect_dgate_up(const std::vector<double>& d) const {
    const auto exact = oracle::swiglu_backward<double>(gate, up, dy);
    const auto plain = oracle::swiglu_backward<float>(gate, up, dy);
    std::vector<double> dgate, dup;
    for (int64_t n = 0; n < N; ++n) {
      dgate.insert(dgate.end(), d.begin() + 2 * n * F, d.begin() + (2 * n + 1) * F);
      dup.insert(dup.end(), d.begin() + (2 * n + 1) * F, d.begin() + (2 * n + 2) * F);
    }
    expect_close(dgate, exact.dgate, limit(plain.dgate, exact.dgate), named(dtype, what + " dgate"));
    expect_close(dup, exact.dup, limit(plain.dup, exact.dup), named(dtype, what + " dup"));
  }

 private:
  // The exponential rounds its exponent, which moves the result by as many roundings as the gate is large; beyond 89 it
  // is 0 or infinite.
  Tolerance limit(const std::vector<float>& plain, const std::vector<double>& exact) const {
    std::vector<double> terms = exact;
    if (rounds_exponents)
      for (size_t i = 0; i < terms.size(); ++i) terms[i] *= 1 + std::min(std::abs(gate[i]), 89.0);
    return rounded_to(dtype, twice_error_of(plain, exact, terms));
  }
};

/// Gates at the edges of f32.
inline std::vector<SwigluCase> huge_and_tiny_gates() {
  const int64_t F = 83;
  const std::vector<double> up(static_cast<size_t>(F), 1e4), dy = random_normal(F, 6), random = random_normal(F, 5);
  std::vector<double> slope, negative = random;
  for (int64_t f = 0; f < F; ++f) slope.push_back(static_cast<float>(-110.0 + 0.5 * static_cast<double>(f)));
  for (double& g : negative) g = -std::abs(g);
  return {{"+-1e4", times(random, 1e4), up, dy},
          {"-1e4", std::vector<double>(up.size(), -1e4), up, dy},
          {"1e4", up, up, dy},
          {"-110 to -69", slope, up, dy},
          {"-1e30", times(negative, 1e30), up, dy},
          {"1e30", times(random, 1e30), up, dy},
          {"subnormal", times(random, 1e-40), up, dy},
          {"0", times(random, 0.0), up, dy}};
}

struct EmbeddingCase {
  int64_t V, N, C;
  Dtype dtype;
  std::vector<double> table, dy, dtable_before;
  std::vector<int64_t> tokens;

  EmbeddingCase(int64_t rows, int64_t num_tokens, int64_t columns, Dtype type)
      : V(rows),
        N(num_tokens),
        C(columns),
        dtype(type),
        table(rounded_to(type, random_normal(V * C, 10))),
        dy(rounded_to(type, random_normal(N * C, 11))),
        dtable_before(random_normal(V * C, 12)),
        tokens(random_below(N, V, 13)) {}

  void expect_y(const std::vector<double>& y) const {
    expect_close(y, oracle::embedding_forward<double>(table, tokens, C), {0.0}, named(dtype, "embedding"));
  }
  void expect_dtable(const std::vector<double>& dtable) const {
    const auto exact = sum(oracle::embedding_backward<double>(tokens, dy, V, C), dtable_before);
    const auto plain = times(sum(to_doubles(oracle::embedding_backward<float>(tokens, dy, V, C)), dtable_before), 1.0);
    // A sum of about N / V terms and of what was there, each rounding at the size of the sum so far.
    std::vector<double> terms = dtable_before;
    for (double& term : terms) term = std::abs(term);
    for (int64_t n = 0; n < N; ++n)
      for (int64_t c = 0; c < C; ++c)
        terms[static_cast<size_t>(tokens[static_cast<size_t>(n)] * C + c)] +=
            std::abs(dy[static_cast<size_t>(n * C + c)]);
    expect_close(dtable, exact, twice_error_of(plain, exact, terms), named(dtype, "embedding backward"));
  }
};

}  // namespace annulus::test
