#pragma once
// Up to four dimensions, outermost first, without any allocation.
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "runtime/core/error.h"

namespace annulus {

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    for (const int64_t dim : dims) append(dim);
  }

  void append(int64_t dim) {
    invariant(rank_ < kMaxRank && dim >= 0, "a shape has at most ", kMaxRank, " dimensions, none negative; got ", dim);
    dims_[static_cast<size_t>(rank_++)] = dim;
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }
  void set(int i, int64_t dim) { dims_[i] = dim; }

  int64_t numel() const {
    int64_t product = 1;
    for (int i = 0; i < rank_; ++i) product *= dims_[i];
    return product;
  }

  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int i = 0; i < rank_; ++i)
      if (dims_[i] != other.dims_[i]) return false;
    return true;
  }

  /// "(2, 36, 4, 16)", for messages.
  std::string text() const {
    std::string out = "(";
    for (int i = 0; i < rank_; ++i) out += (i ? ", " : "") + std::to_string(dims_[i]);
    return out + ")";
  }

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> dims_{};
};

}  // namespace annulus
