#pragma once
// AdamW, arXiv:1711.05101.
#include "runtime/core/tensor.h"

namespace annulus {

struct AdamwOptions {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  float gradient_scale;  // multiplies the gradient first: 1, or less when the global norm is clipped
  int64_t step;          // 1 for the first update
};

/// One update of master, m and v, all f32 of one size: w -= lr (mhat / (sqrt(vhat) + epsilon) + decay w). The weight is
/// f32, then it is the very tensor of the master, or bf16, then it becomes the master rounded.
void adamw(TensorView weight, TensorView master, TensorView m, TensorView v, ConstTensorView gradient,
           const AdamwOptions& options);

}  // namespace annulus
