#pragma once
// Tensors that tests own, made from and read back as doubles.
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "runtime/core/tensor.h"

namespace annulus::test {

/// A 64-byte aligned f32 or bf16 tensor, filled with NaN unless values are given: what an op forgets to write shows.
class Buffer {
 public:
  explicit Buffer(Shape shape, float fill = __builtin_nanf(""), Dtype dtype = Dtype::kF32)
      : shape_(shape), dtype_(dtype), data_(allocate(shape.numel() * size_of(dtype))) {
    for (int64_t i = 0; i < shape.numel(); ++i) set(i, fill);
  }
  Buffer(Shape shape, const std::vector<double>& values, Dtype dtype = Dtype::kF32)
      : Buffer(shape, __builtin_nanf(""), dtype) {
    invariant(static_cast<int64_t>(values.size()) == shape.numel(), "a buffer needs as many values as elements");
    for (int64_t i = 0; i < shape.numel(); ++i) set(i, static_cast<float>(values[static_cast<size_t>(i)]));
  }

  TensorView view() const { return {data_.get(), dtype_, shape_}; }
  float* data() const { return view().data<float>(); }
  int64_t numel() const { return shape_.numel(); }
  std::vector<double> doubles() const {
    std::vector<double> values;
    for (int64_t i = 0; i < numel(); ++i)
      values.push_back(dtype_ == Dtype::kF32 ? view().data<float>()[i] : view().data<Bf16>()[i].to_float());
    return values;
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  static std::byte* allocate(int64_t bytes) {
    return static_cast<std::byte*>(::operator new[](static_cast<size_t>(bytes + 4), std::align_val_t{64}));
  }
  void set(int64_t i, float value) {
    if (dtype_ == Dtype::kF32)
      view().data<float>()[i] = value;
    else
      view().data<Bf16>()[i] = Bf16::from(value);
  }

  Shape shape_;
  Dtype dtype_;
  std::unique_ptr<std::byte[], Free> data_;
};

}  // namespace annulus::test
