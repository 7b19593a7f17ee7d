#include "tests/cudasim/faults/rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace annulus::cudasim::faults {
namespace {

template <class T, class Close>
void compare(const std::vector<T>& got, const std::vector<T>& expected, Close close) {
  if (got.size() != expected.size()) throw WrongResult("as many results as expected there are not");
  for (size_t i = 0; i < got.size(); ++i)
    if (!close(got[i], expected[i])) throw WrongResult(fmt::format("element {} is {}, not {}", i, got[i], expected[i]));
}

}  // namespace

void check(cudaError_t error, std::source_location where) {
  if (error != cudaSuccess)
    throw WrongResult(fmt::format("{} in {}, line {}", cudaGetErrorName(error), where.file_name(), where.line()));
}

cudaStream_t Rank::stream() {
  cudaStream_t made = nullptr;
  check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
  return made;
}

cudaEvent_t Rank::event() {
  cudaEvent_t made = nullptr;
  check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
  events_.push_back(made);
  return made;
}

cudaEvent_t Rank::recorded(cudaStream_t stream) {
  const cudaEvent_t made = event();
  check(cudaEventRecord(made, stream));
  return made;
}

void Rank::close() {
  for (const cudaEvent_t event : events_) cudaEventDestroy(event);
  events_.clear();
}

void expect_equal(const std::vector<float>& got, const std::vector<float>& expected) {
  compare(got, expected, [](float a, float b) { return std::abs(a - b) <= 1e-5f * std::max(1.0f, std::abs(b)); });
}
void expect_equal(const std::vector<int>& got, const std::vector<int>& expected) {
  compare(got, expected, [](int a, int b) { return a == b; });
}

std::vector<float> numbers(size_t count, float first) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

std::vector<float> backwards(std::vector<float> values) {
  std::reverse(values.begin(), values.end());
  return values;
}

float sum_of(const std::vector<float>& values) { return std::accumulate(values.begin(), values.end(), 0.0f); }

}  // namespace annulus::cudasim::faults
