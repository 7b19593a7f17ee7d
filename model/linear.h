#pragma once
// A linear layer without bias: y = x W^T, W (out, in). Several logical weights stacked in the store act as one layer.
#include "model/parameter.h"

namespace annulus {

class Linear {
 public:
  /// Registers one weight per name, of names[i].second rows each; drawn from N(0, spread^2).
  Linear(ParameterStore& store, const std::vector<std::pair<std::string, int64_t>>& names, int64_t in, double spread);

  /// y (N, out) from x (N, in).
  void forward(TensorView y, ConstTensorView x, Arena& scratch) const;

  /// Writes dx (N, in) and adds to the weight's gradient.
  void backward(TensorView dx, ConstTensorView dy, ConstTensorView x, Arena& scratch) const;

  Dtype dtype() const { return store_.dtype(); }
  int64_t out() const { return store_.weight(first_, count_).dim(0); }
  int64_t in() const { return store_.weight(first_, count_).dim(1); }

 private:
  ParameterStore& store_;
  int first_ = 0, count_ = 0;
};

}  // namespace annulus
