// Foreign code: CUB's device-wide algorithms, host part and kernels, on the simulated runtime and with its race
// detector, against the host.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include "tests/cudasim/cub_values.h"
#include "tests/cudasim/kernels/cub_device.h"
#include "tests/cudasim/runtime/simulation.h"

namespace annulus::cudasim {
namespace {

// Runs it in the order of things and in orders made by chance, but for the order in which blocks begin: in CUB's scans
// a block waits for what those before it have found.
void in_schedules(uint64_t count, const std::function<void()>& body) {
  SimulationOptions options;
  options.kernels.blocks_begin_in_order = true;
  options.kernels.max_instructions = 5'000'000;  // of each launch
  for (uint64_t number = 0; number < count && !testing::Test::HasFailure(); ++number) {
    Simulation simulation(options.schedule(number));
    EXPECT_NO_THROW(simulation.run(1, [&](int) { body(); })) << "schedule " << number;
  }
}

/// A stream and memory of the device for one body.
class Device {
 public:
  Device() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess); }
  ~Device() {
    for (void* each : allocated_) cudaFree(each);
    cudaStreamDestroy(stream);
  }
  Device(const Device&) = delete;

  template <class T>
  T* room(size_t count) {
    void* at = nullptr;
    EXPECT_EQ(cudaMalloc(&at, count * sizeof(T)), cudaSuccess);
    allocated_.push_back(at);
    return static_cast<T*>(at);
  }
  template <class T>
  T* up(const std::vector<T>& values) {
    T* const at = room<T>(values.size());
    EXPECT_EQ(cudaMemcpyAsync(at, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, stream),
              cudaSuccess);
    return at;
  }
  template <class T>
  std::vector<T> down(const T* at, size_t count) {
    std::vector<T> values(count);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), at, count * sizeof(T), cudaMemcpyDeviceToHost, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    return values;
  }

  cudaStream_t stream = nullptr;

 private:
  std::vector<void*> allocated_;
};

constexpr int kCounts[] = {1, 255, 4097, 20011};  // one tile and several

template <class T>
void sums() {
  for (const int count : kCounts) {
    const auto n = static_cast<size_t>(count);
    const std::vector<T> values = random_values<T>(n, static_cast<uint32_t>(count));
    std::vector<T> first;
    in_schedules(4, [&] {
      Device device;
      T* const result = device.room<T>(1);
      ASSERT_EQ(device_sum(result, device.up(values), count, device.stream), cudaSuccess);
      const std::vector<T> got = device.down(result, 1);
      if (first.empty()) first = got;
      EXPECT_EQ(got, first) << "the order of blocks decides the sum";
      expect_sum(got[0], values.data(), n);
    });
  }
}

TEST(CubDevice, Sums) {
  sums<int>();
  sums<float>();
  sums<double>();
  sums<uint64_t>();
}

template <class T>
void greatest() {
  for (const int count : kCounts) {
    const std::vector<T> values = random_values<T>(static_cast<size_t>(count), static_cast<uint32_t>(count));
    in_schedules(4, [&] {
      Device device;
      T* const result = device.room<T>(1);
      ASSERT_EQ(device_max(result, device.up(values), count, device.stream), cudaSuccess);
      EXPECT_EQ(device.down(result, 1)[0], *std::max_element(values.begin(), values.end())) << count;
    });
  }
}

TEST(CubDevice, GreatestAndWhereTheLeastIs) {
  greatest<float>();
  greatest<uint64_t>();
  for (const int count : kCounts) {
    const std::vector<float> values = random_values<float>(static_cast<size_t>(count), static_cast<uint32_t>(count));
    const auto least = std::min_element(values.begin(), values.end());
    in_schedules(4, [&] {
      Device device;
      auto* const result = device.room<float>(1);
      auto* const where = device.room<int64_t>(1);
      ASSERT_EQ(device_argmin(result, where, device.up(values), count, device.stream), cudaSuccess);
      EXPECT_EQ(device.down(result, 1)[0], *least);
      EXPECT_EQ(device.down(where, 1)[0], least - values.begin());
    });
  }
}

template <class T, class Algorithm>
void scans(Algorithm algorithm, size_t own) {
  for (const int count : kCounts) {
    const auto n = static_cast<size_t>(count);
    const std::vector<T> values = random_values<T>(n, static_cast<uint32_t>(count));
    in_schedules(4, [&] {
      Device device;
      T* const results = device.room<T>(n);
      ASSERT_EQ(algorithm(results, device.up(values), count, device.stream), cudaSuccess);
      const std::vector<T> got = device.down(results, n);
      for (size_t i = 0; i < n; i += 97) expect_sum(got[i], values.data(), i + own);
      expect_sum(got[n - 1], values.data(), n - 1 + own);
    });
  }
}

TEST(CubDevice, Scans) {
  scans<int>(device_inclusive_sum<int>, 1);
  scans<float>(device_inclusive_sum<float>, 1);
  scans<uint64_t>(device_exclusive_sum<uint64_t>, 0);
}

template <class Key>
void sorts() {
  for (const int count : {1, 255, 7001}) {
    const auto n = static_cast<size_t>(count);
    const std::vector<Key> keys = random_values<Key>(n, static_cast<uint32_t>(count));
    std::vector<int> numbers(n);
    std::iota(numbers.begin(), numbers.end(), 0);
    std::vector<int> expected = numbers;
    std::stable_sort(expected.begin(), expected.end(),
                     [&](int a, int b) { return keys[static_cast<size_t>(a)] < keys[static_cast<size_t>(b)]; });
    in_schedules(2, [&] {
      Device device;
      Key* const sorted = device.room<Key>(n);
      int* const values = device.room<int>(n);
      ASSERT_EQ(device_sort_pairs(sorted, values, device.up(keys), device.up(numbers), count, device.stream),
                cudaSuccess);
      EXPECT_EQ(device.down(values, n), expected) << count;
      const std::vector<Key> got = device.down(sorted, n);
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(got[i], keys[static_cast<size_t>(expected[i])]);
    });
  }
}

TEST(CubDevice, Sorts) {
  sorts<float>();
  sorts<uint64_t>();
}

}  // namespace
}  // namespace annulus::cudasim
