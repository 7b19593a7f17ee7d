#pragma once
// RMSNorm with a learned gain.
#include "model/parameter.h"

namespace annulus {

class RmsNorm {
 public:
  struct Saved {
    ConstTensorView x_NC;
    TensorView rstd_N;
  };

  RmsNorm(ParameterStore& store, const std::string& name, int64_t width, double epsilon);

  /// x_NC -> y_NC, taken from `arena`.
  TensorView forward(ConstTensorView x_NC, Saved& saved, Arena& arena) const;

  /// Replaces `residual_NC` (the gradient that bypasses the norm) by itself plus the gradient through the norm, and
  /// adds to the gain's gradient.
  void backward(TensorView residual_NC, ConstTensorView dy_NC, const Saved& saved, Arena& scratch) const;

 private:
  ParameterStore& store_;
  int gain_;
  float epsilon_;
};

}  // namespace annulus
