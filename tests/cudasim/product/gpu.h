#pragma once
// The product's CUDA code in tests: through the table of its plugin alone, whose kernels run on simulated devices.
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/device_ops.h"
#include "tests/cudasim/runtime/simulation.h"

namespace annulus::cudasim {

const DeviceOps& product();

template <class T>
const DeviceElementOps<T>& product_ops() {
  if constexpr (sizeof(T) == sizeof(float))
    return product().f32;
  else
    return product().bf16;
}

/// A device as a rank uses it: one stream, on which all is enqueued; only down() waits. To be used inside
/// Simulation::run().
class Gpu {
 public:
  Gpu();
  ~Gpu();
  Gpu(const Gpu&) = delete;

  /// What comes from up() and room() begins this many elements behind an address that is a multiple of 256.
  void begin_at(int64_t element) { begin_ = element; }

  /// Memory that nobody has written.
  template <class T>
  T* room(int64_t n) {
    return reinterpret_cast<T*>(allocate((begin_ + n) * static_cast<int64_t>(sizeof(T)))) + begin_;
  }
  /// The values, rounded to T.
  template <class T, class Value>
  T* up(const std::vector<Value>& values) {
    std::vector<std::byte>& host = kept_.emplace_back(values.size() * sizeof(T));
    for (size_t i = 0; i < values.size(); ++i) put(reinterpret_cast<T*>(host.data()) + i, values[i]);
    T* const device = room<T>(static_cast<int64_t>(values.size()));
    ran(product().copy(device, host.data(), static_cast<int64_t>(host.size()), stream_));
    return device;
  }
  /// What n elements hold when all that was enqueued is done.
  template <class T>
  std::vector<double> down(const T* device, int64_t n) {
    std::vector<T> host(static_cast<size_t>(n));
    fetch(host.data(), device, n * static_cast<int64_t>(sizeof(T)));
    std::vector<double> values;
    for (const T x : host) values.push_back(get(x));
    return values;
  }
  DeviceStream stream() const { return stream_; }
  /// The call must have gone well.
  void ran(DeviceError error);
  /// All bytes that down() has brought.
  const std::vector<std::byte>& fetched() const { return fetched_; }

 private:
  static void put(float* to, double x) { *to = static_cast<float>(x); }
  static void put(double* to, double x) { *to = x; }
  static void put(Bf16* to, double x) { *to = Bf16::from(static_cast<float>(x)); }
  static void put(int32_t* to, int64_t x) { *to = static_cast<int32_t>(x); }
  static double get(float x) { return x; }
  static double get(double x) { return x; }
  static double get(Bf16 x) { return x.to_float(); }
  std::byte* allocate(int64_t bytes);
  void fetch(void* host, const void* device, int64_t bytes);

  int64_t begin_ = 0;
  DeviceStream stream_ = nullptr;
  std::vector<void*> memory_;
  std::vector<std::vector<std::byte>> kept_;  // host memory of copies that are under way
  std::vector<std::byte> fetched_;
};

constexpr uint64_t kSchedules = 16;

/// Runs the body in kSchedules schedules with the race detector on. What it fetches must be the same bits in all of
/// them, and nothing may be wrong in any.
void in_all_schedules(const std::function<void(Gpu&)>& body);

}  // namespace annulus::cudasim
