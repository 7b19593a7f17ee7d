#pragma once
// Tensors that tests own, made from and read back as doubles.
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "runtime/core/tensor.h"

namespace annulus::test {

/// A 64-byte aligned f32 tensor, filled with NaN unless values are given: what an op forgets to write shows.
class Buffer {
 public:
  explicit Buffer(Shape shape, float fill = __builtin_nanf("")) : shape_(shape), data_(allocate(shape.numel())) {
    for (int64_t i = 0; i < shape.numel(); ++i) data_[i] = fill;
  }
  Buffer(Shape shape, const std::vector<double>& values) : Buffer(shape) {
    invariant(static_cast<int64_t>(values.size()) == shape.numel(), "a buffer needs as many values as elements");
    for (size_t i = 0; i < values.size(); ++i) data_[i] = static_cast<float>(values[i]);
  }

  TensorView view() const { return {data_.get(), Dtype::kF32, shape_}; }
  float* data() const { return data_.get(); }
  int64_t numel() const { return shape_.numel(); }
  std::vector<double> doubles() const { return {data_.get(), data_.get() + numel()}; }

 private:
  struct Free {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  static float* allocate(int64_t n) {
    return static_cast<float*>(::operator new[](static_cast<size_t>(n + 1) * sizeof(float), std::align_val_t{64}));
  }

  Shape shape_;
  std::unique_ptr<float[], Free> data_;
};

}  // namespace annulus::test
