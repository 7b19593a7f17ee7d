// Foreign code: CUB's block algorithms as nvcc compiles them, against the host, on random values of odd counts, with
// the race detector.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>

#include "tests/cudasim/compiled.h"
#include "tests/cudasim/cub_values.h"
#include "tests/cudasim/races/race_detector.h"

namespace annulus::cudasim {
namespace {

class CubBlock : public testing::Test {
 protected:
  Memory memory_;
  LoadedModule module_{compiled("cub_block"), memory_};

  template <class... Values>
  void run(const std::string& kernel, size_t blocks, uint32_t threads, Options options, const Values&... values) {
    RaceDetector races(memory_);
    options.observer = &races;
    launch(module_.kernel(kernel), memory_, {static_cast<uint32_t>(blocks)}, {threads}, arguments(values...), options);
  }

  template <class T>
  void reduces(const std::string& name, uint32_t threads) {
    for (const size_t count : {size_t{1}, size_t{threads - 1}, size_t{threads}, size_t{5 * threads + 31}}) {
      const std::vector<T> values = random_values<T>(count, static_cast<uint32_t>(count));
      const size_t blocks = (count + threads - 1) / threads;
      const uint64_t from = memory_.upload(values, "values"), to = memory_.allocate(blocks * sizeof(T), "results");
      std::vector<T> first;
      for (const Options& options : schedules(3)) {
        run("reduce_sum_" + name, blocks, threads, options, to, from, static_cast<int>(count));
        const std::vector<T> sums = memory_.download<T>(to, blocks);
        if (first.empty()) first = sums;
        EXPECT_EQ(sums, first) << "the order of warps decides a sum";
        run("reduce_max_" + name, blocks, threads, options, to, from, static_cast<int>(count));
        const std::vector<T> greatest = memory_.download<T>(to, blocks);
        for (size_t i = 0; i < blocks; ++i) {
          const T* tile = values.data() + i * threads;
          const size_t here = std::min<size_t>(count - i * threads, threads);
          expect_sum(sums[i], tile, here);
          EXPECT_EQ(greatest[i], *std::max_element(tile, tile + here)) << name << count;
        }
      }
    }
  }

  template <class T>
  void scans(const std::string& name, uint32_t threads, size_t items) {
    const size_t tile = threads * items;
    for (const size_t count : {size_t{1}, tile - 1, tile, 2 * tile + 7}) {
      const std::vector<T> values = random_values<T>(count, static_cast<uint32_t>(count));
      const size_t blocks = (count + tile - 1) / tile;
      const uint64_t from = memory_.upload(values, "values"), sums = memory_.allocate(count * sizeof(T), "sums"),
                     before = memory_.allocate(count * sizeof(T), "before"),
                     totals = memory_.allocate(blocks * sizeof(T), "totals");
      for (const Options& options : schedules(3)) {
        run("scan_" + name, blocks, threads, options, sums, before, totals, from, static_cast<int>(count));
        const std::vector<T> inclusive = memory_.download<T>(sums, count),
                             exclusive = memory_.download<T>(before, count);
        for (size_t i = 0; i < count; ++i) {
          const size_t first = i / tile * tile;
          expect_sum(inclusive[i], values.data() + first, i + 1 - first);
          expect_sum(exclusive[i], values.data() + first, i - first);
        }
        const std::vector<T> whole = memory_.download<T>(totals, blocks);
        for (size_t i = 0; i < blocks; ++i)
          expect_sum(whole[i], values.data() + i * tile, std::min(tile, count - i * tile));
      }
    }
  }

  template <class Key>
  void sorts(const std::string& name, uint32_t threads, size_t items) {
    const size_t tile = threads * items;
    for (const size_t count : {size_t{1}, tile - 1, 2 * tile + 7})
      for (const bool descending : {false, true}) {
        const std::vector<Key> keys = random_values<Key>(count, static_cast<uint32_t>(count));
        std::vector<int> expected(count), numbers(count);
        std::iota(numbers.begin(), numbers.end(), 0);
        expected = numbers;
        for (size_t first = 0; first < count; first += tile)
          std::stable_sort(expected.begin() + static_cast<long>(first),
                           expected.begin() + static_cast<long>(std::min(count, first + tile)), [&](int a, int b) {
                             const Key x = keys[static_cast<size_t>(a)], y = keys[static_cast<size_t>(b)];
                             return descending ? x > y : x < y;
                           });
        using Limits = std::numeric_limits<Key>;
        const Key last = descending ? Limits::lowest() : Limits::max();
        for (const Options& options : schedules(3)) {
          const uint64_t at = memory_.upload(keys, "keys"), with = memory_.upload(numbers, "values");
          run("sort_" + name, (count + tile - 1) / tile, threads, options, at, with, static_cast<int>(count), last,
              descending);
          EXPECT_EQ(memory_.download<int>(with, count), expected) << name << count;
          const std::vector<Key> sorted = memory_.download<Key>(at, count);
          for (size_t i = 0; i < count; ++i) ASSERT_EQ(sorted[i], keys[static_cast<size_t>(expected[i])]);
        }
      }
  }
};

TEST_F(CubBlock, Reduces) {
  reduces<int>("int_raking", 96);
  reduces<int>("int_shuffles", 96);
  reduces<float>("float_commuting", 128);
  reduces<float>("float_shuffles", 77);
  reduces<double>("double_raking", 160);
  reduces<double>("double_shuffles", 64);
  reduces<uint64_t>("u64_commuting", 256);
  reduces<uint64_t>("u64_shuffles", 45);
}

TEST_F(CubBlock, Scans) {
  scans<int>("int_raking", 96, 3);
  scans<float>("float_memoize", 64, 4);
  scans<double>("double_shuffles", 128, 1);
  scans<uint64_t>("u64_shuffles", 32, 5);
  scans<uint64_t>("u64_raking", 128, 2);
}

TEST_F(CubBlock, Sorts) {
  sorts<int>("int", 64, 3);
  sorts<float>("float", 96, 2);
  sorts<double>("double", 32, 4);
  sorts<uint64_t>("u64", 128, 1);
}

}  // namespace
}  // namespace annulus::cudasim
