// The forward pass of attention, as nvcc compiles it, against the same sums in double.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>

#include "tests/cudasim/compiled.h"
#include "tests/cudasim/ptx/number.h"

namespace annulus::cudasim {
namespace {

constexpr int kWidth = 64;
constexpr float kScaleLog2 = 0.18033688f;  // log2(e) / sqrt(kWidth)

struct Case {
  int heads, tokens;
  bool causal;
};

class FlashForward : public testing::Test {
 protected:
  std::vector<uint16_t> bfloats(size_t count) {
    std::normal_distribution<float> distribution;
    std::vector<uint16_t> values(count);
    for (uint16_t& value : values) value = float_to_bfloat(distribution(random_));
    return values;
  }

  void run(const Case& shape, const Options& options) {
    const auto rows = static_cast<size_t>(shape.heads * shape.tokens);
    q_ = bfloats(rows * kWidth), k_ = bfloats(rows * kWidth), v_ = bfloats(rows * kWidth);
    const uint64_t out = memory_.allocate(rows * kWidth * 4, "out"), lse = memory_.allocate(rows * 4, "lse");
    const Dim3 grid{static_cast<uint32_t>(shape.tokens + 63) / 64, static_cast<uint32_t>(shape.heads)};
    statistics_ = launch(module_.kernel(shape.causal ? "flash_forward_causal" : "flash_forward"), memory_, grid, {128},
                         arguments(out, lse, memory_.upload(q_, "q"), memory_.upload(k_, "k"), memory_.upload(v_, "v"),
                                   shape.tokens, kScaleLog2),
                         options);
    out_ = memory_.download<float>(out, rows * kWidth);
    lse_ = memory_.download<float>(lse, rows);
  }

  void expect_right(const Case& shape) {
    for (int head = 0; head < shape.heads; ++head)
      for (int row = 0; row < shape.tokens; ++row) expect_row(shape, static_cast<size_t>(head * shape.tokens), row);
  }

  // A score is a sum of 64 products in f32: with all |q k| together below 128 it errs by 64 * 2^-24 * 128 / 8 = 2^-14,
  // and so does the lse. The exponentials, twice that off with their sum, are then rounded to bf16, by at most 2^-8 of
  // them, before they multiply v; a tenth more is room for the rest.
  void expect_row(const Case& shape, size_t first, int row) {
    const int end = shape.causal ? row + 1 : shape.tokens;
    const auto at = [&](const std::vector<uint16_t>& x, int token, int d) {
      return double{bfloat_to_float(x[(first + static_cast<size_t>(token)) * kWidth + static_cast<size_t>(d)])};
    };
    std::vector<double> power(static_cast<size_t>(end));
    double sum = 0;
    for (int key = 0; key < end; ++key) {
      double dot = 0;
      for (int d = 0; d < kWidth; ++d) dot += at(q_, row, d) * at(k_, key, d);
      sum += power[static_cast<size_t>(key)] = std::exp2(dot * double{kScaleLog2});
    }
    const size_t index = first + static_cast<size_t>(row);
    ASSERT_NEAR(lse_[index], std::log(sum), 0x1p-14) << row;
    for (int d = 0; d < kWidth; ++d) {
      double exact = 0, magnitude = 0;
      for (int key = 0; key < end; ++key) {
        const double part = power[static_cast<size_t>(key)] / sum * at(v_, key, d);
        exact += part;
        magnitude += std::fabs(part);
      }
      ASSERT_NEAR(out_[index * kWidth + static_cast<size_t>(d)], exact, 1.1 * 0x1p-8 * magnitude) << row << " " << d;
    }
  }

  Memory memory_;
  LoadedModule module_{compiled("flash_forward"), memory_};
  std::mt19937 random_{4};
  std::vector<uint16_t> q_, k_, v_;
  std::vector<float> out_, lse_;
  Statistics statistics_;
};

TEST_F(FlashForward, IsRightInEverySchedule) {
  const Case shape{2, 128, false};
  for (const Options& options : schedules(4)) {
    run(shape, options);
    expect_right(shape);
  }
}

TEST_F(FlashForward, CausalAndWithTokensThatFillNoTile) {
  for (const Case& shape : {Case{1, 192, true}, Case{2, 77, false}, Case{1, 131, true}}) {
    run(shape, schedules(2)[2]);
    expect_right(shape);
  }
}

// nvcc gives every value a register of its own, here some 2300, most of 128 bytes. Those that are wanted at once are a
// tenth.
TEST_F(FlashForward, RegistersSharePlaces) { EXPECT_LT(module_.kernel("flash_forward").file_words * 4, 64 * 1024u); }

// Two products per 16 x 8 x 16 of scores; no two lanes meet in a bank; every sector that moves is wanted whole.
TEST_F(FlashForward, MovesAndMultipliesNoMoreThanItMust) {
  for (const Options& options : schedules(2)) {
    run({1, 256, false}, options);
    EXPECT_EQ(statistics_.tensor_core_instructions, 2u * (256 / 16) * (256 / 8) * (kWidth / 16));
    EXPECT_EQ(statistics_.wavefronts_per_fewest(), 1.0);
    EXPECT_EQ(statistics_.useful_bytes(), 1.0);
    // Each of 4 blocks reads its queries and all keys and values, of 2 bytes, and writes results and lse, of 4.
    const uint64_t head = 256 * kWidth;
    EXPECT_EQ(statistics_.total.global_bytes, 2 * head + 4 * 2 * 2 * head + 4 * head + 4 * 256);
    for (const Statistics::Line& line : statistics_.lines) {
      const bool lse = line.instruction == "st.global.f32";  // of one lane in four
      if (lse || line.instruction.starts_with("mma.")) {
        EXPECT_EQ(line.counter.threads, (lse ? 8 : 32) * line.counter.runs) << line.ptx_line;
      }
    }
  }
}

}  // namespace
}  // namespace annulus::cudasim
