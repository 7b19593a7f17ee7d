#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>

#include "tests/cudasim/ptx/number.h"
#include "tests/cudasim/snippet.h"

namespace annulus::cudasim {

/// Random bits, with the values among them at which integer arithmetic has its edges.
inline std::vector<Inputs> integers() {
  std::mt19937_64 random(3);
  const uint64_t edges[] = {
      0, 1, 2, 31, 32, 33, 63, 64, 0x7fffffff, 0x80000000, 0xffffffff, ~uint64_t{0}, uint64_t{1} << 63};
  std::vector<Inputs> inputs(97);  // not a multiple of a warp
  for (Inputs& each : inputs) {
    const auto pick = [&] {
      return random() % 2 == 0 ? edges[random() % std::size(edges)] : random() >> random() % 64;
    };
    each = {pick(), pick(), pick()};
  }
  return inputs;
}

/// What a thread stores, of its inputs.
using Expected = std::function<uint64_t(const Inputs&)>;

inline void expect_all(const char* body, const char* result, const char* type, const std::vector<Inputs>& inputs,
                       const Expected& expected) {
  const std::vector<uint64_t> got = run_snippet(body, result, type, inputs);
  for (size_t i = 0; i < inputs.size(); ++i)
    ASSERT_EQ(got[i], expected(inputs[i]))
        << std::hex << body << " of " << inputs[i].a << ", " << inputs[i].b << ", " << inputs[i].c;
}

inline uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
inline int32_t sign(uint64_t value) { return static_cast<int32_t>(value); }

/// Every pair of numbers at which floating point has its edges, then random ones with those among them.
inline std::vector<Inputs> floats() {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  const float edges[] = {0.0f,   -0.0f,   1.0f,    -1.0f, INFINITY, -INFINITY, NAN,  1e-20f,
                         1e-40f, -3e-39f, 3.4e38f, 0.5f,  2.5f,     65504.0f,  1e10f};
  std::vector<Inputs> inputs(160);
  for (Inputs& each : inputs) {
    const auto pick = [&]() -> uint64_t {
      return std::bit_cast<uint32_t>(random() % 3 == 0
                                         ? edges[random() % std::size(edges)]
                                         : std::ldexp(normal(random), static_cast<int>(random() % 60) - 30));
    };
    each = {pick(), pick(), pick()};
  }
  for (const float a : edges)
    for (const float b : edges) inputs.push_back({std::bit_cast<uint32_t>(a), std::bit_cast<uint32_t>(b), 0x3f800000});
  return inputs;
}

inline float f(uint64_t bits) { return std::bit_cast<float>(low(bits)); }
inline uint64_t bits(float value) { return std::bit_cast<uint32_t>(canonical(value)); }

}  // namespace annulus::cudasim
