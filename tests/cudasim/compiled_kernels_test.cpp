// Kernels as nvcc compiles them, against the host.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>

#include "tests/cudasim/compiled.h"
#include "tests/cudasim/ptx/number.h"

namespace annulus::cudasim {
namespace {

class CompiledKernels : public testing::Test {
 protected:
  Memory memory_;
  LoadedModule module_{compiled("basics"), memory_};

  template <class... Values>
  Statistics run(const char* kernel, Dim3 grid, Dim3 block, const Options& options, const Values&... values) {
    return launch(module_.kernel(kernel), memory_, grid, block, arguments(values...), options);
  }
  template <class T>
  uint64_t zeros(size_t count) {
    return memory_.upload(std::vector<T>(count), "output");
  }
};

std::vector<float> normal(size_t count) {
  std::mt19937 random(11);
  std::normal_distribution<float> distribution;
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

TEST_F(CompiledKernels, VectorAdd) {
  const std::vector<float> a = normal(1000), b = normal(1000);
  for (const Options& options : schedules()) {
    const uint64_t sum = memory_.allocate(4000, "sum");
    const Statistics statistics =
        run("vector_add", {4}, {256}, options, sum, memory_.upload(a, "a"), memory_.upload(b, "b"), 1000);
    const std::vector<float> got = memory_.download<float>(sum, 1000);
    for (size_t i = 0; i < 1000; ++i) ASSERT_EQ(got[i], a[i] + b[i]);
    EXPECT_EQ(statistics.total.global_requests, 3u * 32);
    EXPECT_EQ(statistics.total.sectors, 3u * 125);  // 4000 bytes each, in sectors of 32
    EXPECT_EQ(statistics.useful_bytes(), 1.0);
    EXPECT_EQ(statistics.mix.at("add.f32"), 32u);
  }
}

TEST_F(CompiledKernels, VectorsOfFourMove16Sectors) {
  const std::vector<float> x = normal(512);
  const uint64_t y = memory_.allocate(2048, "y");
  const Statistics statistics = run("vector_scale", {1}, {128}, {}, y, memory_.upload(x, "x"), 3.0f, 128);
  EXPECT_EQ(statistics.sectors_per_request(), 16.0);
  EXPECT_EQ(memory_.download<float>(y, 512)[511], x[511] * 3.0f);
}

TEST_F(CompiledKernels, BlockSumByShuffles) {
  std::vector<int> values(1024);
  std::iota(values.begin(), values.end(), -300);
  for (const Options& options : schedules()) {
    const uint64_t sums = zeros<int>(4);
    run("block_sum", {4}, {256}, options, sums, memory_.upload(values, "values"));
    for (size_t i = 0; i < 4; ++i)
      EXPECT_EQ(memory_.download<int>(sums, 4)[i],
                std::accumulate(values.begin() + 256 * i, values.begin() + 256 * (i + 1), 0));
  }
}

TEST_F(CompiledKernels, TransposeAndItsBanks) {
  const std::vector<float> from = normal(64 * 64);
  for (const char* kernel : {"transpose_padded", "transpose_conflicts"}) {
    const uint64_t to = memory_.allocate(from.size() * 4, "to");
    const Statistics statistics = run(kernel, {2, 2}, {32, 8}, schedules()[1], to, memory_.upload(from, "from"), 64);
    const std::vector<float> got = memory_.download<float>(to, from.size());
    for (size_t i = 0; i < 64; ++i)
      for (size_t j = 0; j < 64; ++j) ASSERT_EQ(got[j * 64 + i], from[i * 64 + j]);
    // Without padding the reads down a column need 32 passes, the writes one.
    EXPECT_EQ(statistics.wavefronts_per_fewest(), kernel == std::string("transpose_padded") ? 1.0 : 16.5) << kernel;
  }
}

TEST_F(CompiledKernels, HistogramByAtomics) {
  std::mt19937 random(2);
  std::vector<uint8_t> values(5000);
  std::vector<uint32_t> expected(256);
  for (uint8_t& value : values) ++expected[value = static_cast<uint8_t>(random() % 7 == 0 ? 3 : random())];
  for (const Options& options : schedules()) {
    const uint64_t counts = zeros<uint32_t>(256);
    run("histogram", {3}, {96}, options, counts, memory_.upload(values, "values"), 5000);
    EXPECT_EQ(memory_.download<uint32_t>(counts, 256), expected);
  }
}

TEST_F(CompiledKernels, LoopsOfDifferentLength) {
  for (const Options& options : schedules()) {
    const uint64_t steps = zeros<int>(100), company = zeros<int>(128);
    run("collatz", {1}, {128}, options, steps, company, 100);
    const std::vector<int> got = memory_.download<int>(steps, 100);
    EXPECT_EQ(got[0], 0);
    EXPECT_EQ(got[26], 111);  // of 27
    EXPECT_EQ(got[96], 118);  // of 97
    EXPECT_EQ(memory_.download<int>(company, 128)[127], 4);
  }
}

TEST_F(CompiledKernels, HalvesOfAWarpShuffleApart) {
  for (const Options& options : schedules()) {
    const uint64_t out = zeros<int>(64);
    run("half_warps", {1}, {64}, options, out);
    const std::vector<int> got = memory_.download<int>(out, 64);
    for (size_t i = 0; i < 64; ++i) EXPECT_EQ(got[i], i % 32 < 16 ? 120 : 31 + 31 * 30 / 2);
  }
}

TEST_F(CompiledKernels, CallsSwitchesAndTables) {
  const std::vector<float> in = normal(64);
  std::vector<int> which(64);
  for (size_t i = 0; i < 64; ++i) which[i] = static_cast<int>(i * 7 % 10);
  for (const Options& options : schedules()) {
    const uint64_t out = memory_.allocate(256, "out");
    run("calls_and_tables", {1}, {64}, options, out, memory_.upload(in, "in"), memory_.upload(which, "which"));
    const std::vector<float> got = memory_.download<float>(out, 64);
    for (size_t i = 0; i < 64; ++i) {
      float x = in[i];
      for (size_t k = 0; i % 3 != 0 && k < i % 5; ++k) x = std::fmaf(x, x, 0.25f);
      const float results[] = {x + 1, x * 3, -x, x / 7, std::sqrt(std::fabs(x)), 0, x - 9};
      EXPECT_EQ(got[i], which[i] < 7 ? results[which[i]] : x * static_cast<float>(1 << (i & 3))) << i;
    }
  }
  const int twos = static_cast<int>(std::count(which.begin(), which.end(), 2));
  EXPECT_EQ(memory_.download<int>(module_.address_of("calls"), 1)[0], twos * static_cast<int>(schedules().size()));
}

TEST_F(CompiledKernels, LanesThatSpinLetOthersRun) {
  for (const Options& options : schedules()) {
    const uint64_t lock = zeros<int>(1), counter = zeros<int>(1);
    run("spin_lock", {2}, {48}, options, lock, counter);
    EXPECT_EQ(memory_.download<int>(counter, 1)[0], 96);
  }
}

TEST_F(CompiledKernels, BarriersThatReduce) {
  std::vector<int> values(80);
  std::iota(values.begin(), values.end(), 0);
  const uint64_t out = zeros<int>(3);
  run("any_of_block", {1}, {80}, {}, out, memory_.upload(values, "values"), 60);
  EXPECT_EQ(memory_.download<int>(out, 3), (std::vector<int>{19, 1, 0}));
  run("any_of_block", {1}, {80}, schedules()[2], out, memory_.upload(values, "values"), -1);
  EXPECT_EQ(memory_.download<int>(out, 3), (std::vector<int>{80, 1, 1}));
}

TEST_F(CompiledKernels, FailedAssertIsReported) {
  std::vector<int> values(64);
  std::iota(values.begin(), values.end(), 0);
  try {
    run("asserts", {1}, {64}, {}, memory_.upload(values, "values"));
    FAIL();
  } catch (const DeviceFault& fault) {
    EXPECT_EQ(fault.kind(), FaultKind::kTrap);
    EXPECT_EQ(fault.place().thread.x, 40u);
    EXPECT_NE(std::string(fault.what()).find("values[threadIdx.x] < 40 (basics.cu:"), std::string::npos)
        << fault.what();
  }
}

class MatrixProduct : public testing::Test {
 protected:
  static constexpr int kM = 128, kN = 64, kK = 96;
  Memory memory_;
  LoadedModule module_{compiled("matrix_product"), memory_};
  std::vector<uint16_t> a_ = bfloats(kM * kK, 1), b_ = bfloats(kN * kK, 2);
  Statistics statistics_;

  static std::vector<uint16_t> bfloats(size_t count, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> distribution;
    std::vector<uint16_t> values(count);
    for (uint16_t& value : values) value = float_to_bfloat(distribution(random));
    return values;
  }

  // The largest difference from the exact product, in units of the bound on a sum of K products in f32.
  double error(const char* kernel, const Options& options) {
    const uint64_t c = memory_.allocate(kM * kN * 4, "c");
    statistics_ = launch(module_.kernel(kernel), memory_, {kN / 64, kM / 64}, {128},
                         arguments(c, memory_.upload(a_, "a"), memory_.upload(b_, "b"), int{kN}, int{kK}), options);
    const std::vector<float> got = memory_.download<float>(c, kM * kN);
    double worst = 0;
    for (int i = 0; i < kM; ++i)
      for (int j = 0; j < kN; ++j) {
        double exact = 0, magnitude = 0;
        for (int k = 0; k < kK; ++k) {
          const double product = double{bfloat_to_float(a_[static_cast<size_t>(i * kK + k)])} *
                                 double{bfloat_to_float(b_[static_cast<size_t>(j * kK + k)])};
          exact += product;
          magnitude += std::fabs(product);
        }
        const double difference = std::fabs(double{got[static_cast<size_t>(i * kN + j)]} - exact);
        worst = std::max(worst, std::isnan(difference) ? 1e30 : difference / (kK * 0x1p-24 * magnitude));
      }
    return worst;
  }
};

TEST_F(MatrixProduct, IsRightInEverySchedule) {
  for (const Options& options : schedules(12)) EXPECT_LE(error("matrix_product", options), 1.0);
  EXPECT_EQ(statistics_.tensor_core_instructions, static_cast<uint64_t>(kM / 16 * kN / 8 * kK / 16));
  EXPECT_EQ(statistics_.wavefronts_per_fewest(), 1.0);
  EXPECT_EQ(statistics_.useful_bytes(), 1.0);
}

// With the checks on, touching what is in flight is a fault; without them the result itself is wrong when copies land
// late.
TEST_F(MatrixProduct, WeakWaitIsCaught) {
  Options options;
  try {
    error("matrix_product_weak_wait", options);
    FAIL();
  } catch (const DeviceFault& fault) {
    EXPECT_EQ(fault.kind(), FaultKind::kInFlight);
    EXPECT_NE(fault.place().source.find("tensor_core.cuh:"), std::string::npos) << fault.what();
  }
  options.check_in_flight = options.check_written = false;
  EXPECT_GT(error("matrix_product_weak_wait", options), 1e6);
}

TEST_F(MatrixProduct, EarlyRefillGivesWrongResultsUnderChance) {
  int wrong = 0;
  for (uint64_t seed = 1; seed <= 16; ++seed) {
    Options options;
    options.seed = seed;
    options.copies = Options::Copies::kEarly;
    options.check_in_flight = options.check_written = false;
    wrong += error("matrix_product_early_refill", options) > 1.0 ? 1 : 0;
  }
  EXPECT_GT(wrong, 0);
}

}  // namespace
}  // namespace annulus::cudasim
