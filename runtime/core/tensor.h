#pragma once
// Views of tensors: a pointer, a shape, strides, an element type, and where the memory is. A view owns nothing.
#include <array>
#include <cstdint>

#include "runtime/core/dtype.h"
#include "runtime/core/error.h"
#include "runtime/core/shape.h"

namespace annulus {

/// kShape: a tensor without memory. Ops check its shape and do nothing, so that a training step run on such tensors
/// asks its arenas for exactly the bytes that the real step will use (Arena, "measuring").
enum class Device : uint8_t { kCpu, kShape };

class ConstTensorView {
 public:
  ConstTensorView() = default;
  ConstTensorView(const void* data, Dtype dtype, Shape shape, Device device = Device::kCpu)
      : data_(const_cast<void*>(data)), dtype_(dtype), device_(device), shape_(shape) {
    int64_t stride = 1;
    for (int i = shape.rank() - 1; i >= 0; --i) {
      strides_[i] = stride;
      stride *= shape[i];
    }
  }

  template <class T>
  const T* data() const {
    invariant(dtype_ == dtype_of<T>(), "tensor holds ", name_of(dtype_), ", not ", name_of(dtype_of<T>()));
    return static_cast<const T*>(data_);
  }
  const void* raw() const { return data_; }

  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int i) const { return shape_[i]; }
  int64_t stride(int i) const { return strides_[i]; }  // in elements
  int64_t numel() const { return shape_.numel(); }
  int64_t bytes() const { return numel() * size_of(dtype_); }
  Dtype dtype() const { return dtype_; }
  Device device() const { return device_; }
  bool shape_only() const { return device_ == Device::kShape; }

  bool contiguous() const {
    int64_t expected = 1;
    for (int i = shape_.rank() - 1; i >= 0; --i) {
      if (shape_[i] != 1 && strides_[i] != expected) return false;
      expected *= shape_[i];
    }
    return true;
  }

  ConstTensorView narrow(int axis, int64_t first, int64_t count) const {
    ConstTensorView part = *this;
    part.narrow_in_place(axis, first, count);
    return part;
  }
  /// Element i of the outermost dimension, without that dimension.
  ConstTensorView at(int64_t i) const {
    ConstTensorView part = *this;
    part.peel_in_place(i);
    return part;
  }
  ConstTensorView reshaped(Shape shape) const {
    ConstTensorView other = *this;
    other.reshape_in_place(shape);
    return other;
  }
  ConstTensorView with_last_split(int64_t outer, int64_t inner) const {
    ConstTensorView other = *this;
    other.split_last_in_place(outer, inner);
    return other;
  }

 protected:
  void narrow_in_place(int axis, int64_t first, int64_t count) {
    invariant(axis < rank() && first >= 0 && count >= 0 && first + count <= shape_[axis], "narrow [", first, ", ",
              first + count, ") of axis ", axis, " of ", shape_.text());
    if (data_) data_ = static_cast<char*>(data_) + first * strides_[axis] * size_of(dtype_);
    shape_.set(axis, count);
  }
  void peel_in_place(int64_t i) {
    narrow_in_place(0, i, 1);
    Shape inner;
    for (int axis = 1; axis < rank(); ++axis) {
      inner.append(shape_[axis]);
      strides_[axis - 1] = strides_[axis];
    }
    shape_ = inner;
  }
  void reshape_in_place(Shape shape) {
    invariant(contiguous() && shape.numel() == numel(), "cannot view ", shape_.text(), " as ", shape.text());
    *this = ConstTensorView(data_, dtype_, shape, device_);
  }
  /// (..., outer * inner) -> (..., outer, inner), also of a view whose rows are not contiguous.
  void split_last_in_place(int64_t outer, int64_t inner) {
    const int last = rank() - 1;
    invariant(rank() < Shape::kMaxRank && shape_[last] == outer * inner && strides_[last] == 1, "cannot split ",
              shape_.text(), " into ", outer, " x ", inner);
    Shape shape;
    for (int axis = 0; axis < last; ++axis) shape.append(shape_[axis]);
    shape.append(outer);
    shape.append(inner);
    strides_[last] = inner;
    strides_[last + 1] = 1;
    shape_ = shape;
  }

  void* data_ = nullptr;
  Dtype dtype_ = Dtype::kF32;
  Device device_ = Device::kCpu;
  Shape shape_;
  std::array<int64_t, Shape::kMaxRank> strides_{};
};

class TensorView : public ConstTensorView {
 public:
  TensorView() = default;
  TensorView(void* data, Dtype dtype, Shape shape, Device device = Device::kCpu)
      : ConstTensorView(data, dtype, shape, device) {}

  template <class T>
  T* data() const {
    return const_cast<T*>(ConstTensorView::data<T>());
  }
  void* raw() const { return data_; }

  TensorView narrow(int axis, int64_t first, int64_t count) const {
    TensorView part = *this;
    part.narrow_in_place(axis, first, count);
    return part;
  }
  TensorView at(int64_t i) const {
    TensorView part = *this;
    part.peel_in_place(i);
    return part;
  }
  TensorView reshaped(Shape shape) const {
    TensorView other = *this;
    other.reshape_in_place(shape);
    return other;
  }
  TensorView with_last_split(int64_t outer, int64_t inner) const {
    TensorView other = *this;
    other.split_last_in_place(outer, inner);
    return other;
  }
};

}  // namespace annulus
