#pragma once
// What the bodies of the suite use of the CUDA runtime, with as little ado as can be.
#include <cuda_runtime_api.h>

#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

namespace annulus::cudasim::faults {

/// A result that is not what the host computed, or a call that failed.
struct WrongResult : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void check(cudaError_t error, std::source_location where = std::source_location::current());

/// A rank with what it has made. All of it lives until the simulation is over: copies may be under way until then.
class Rank {
 public:
  int number = 0;

  template <class T>
  T* device(size_t count) {
    void* pointer = nullptr;
    check(cudaMalloc(&pointer, count * sizeof(T)));
    return static_cast<T*>(pointer);
  }
  template <class T>
  T* device(const std::vector<T>& values) {
    T* const pointer = device<T>(values.size());
    check(cudaMemcpy(pointer, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return pointer;
  }
  template <class T>
  std::vector<T>& host(const std::vector<T>& values) {
    const auto made = std::make_shared<std::vector<T>>(values);
    owned_.push_back(made);
    return *made;
  }
  /// One that does not wait for the default stream.
  cudaStream_t stream();
  cudaEvent_t event();
  /// A new event, recorded in the stream.
  cudaEvent_t recorded(cudaStream_t stream);
  /// In the order of the stream, for which it waits.
  template <class T>
  std::vector<T> fetch(const T* from, size_t count, cudaStream_t stream) {
    std::vector<T>& to = host(std::vector<T>(count));
    check(cudaMemcpyAsync(to.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost, stream));
    check(cudaStreamSynchronize(stream));
    return to;
  }
  /// Gives events back, while the simulation still runs.
  void close();

 private:
  std::vector<std::shared_ptr<void>> owned_;
  std::vector<cudaEvent_t> events_;
};

/// Throws WrongResult where they differ, floats by more than 1e-5 of their size.
void expect_equal(const std::vector<float>& got, const std::vector<float>& expected);
void expect_equal(const std::vector<int>& got, const std::vector<int>& expected);

/// first, first + 1, ...
std::vector<float> numbers(size_t count, float first = 0.0f);
std::vector<float> backwards(std::vector<float> values);
float sum_of(const std::vector<float>& values);

}  // namespace annulus::cudasim::faults
