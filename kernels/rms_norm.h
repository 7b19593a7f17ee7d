#pragma once
// RMSNorm, arXiv:1910.07467.
#include "runtime/core/arena.h"
#include "runtime/core/tensor.h"

namespace annulus {

/// y_NC = x_NC * rstd_N * gain_C, rstd = 1 / sqrt(mean over C of x^2 + epsilon). rstd is f32, x, y and gain f32 or bf16
/// alike; contiguous.
void rms_norm_forward(TensorView y_NC, TensorView rstd_N, ConstTensorView x_NC, ConstTensorView gain_C, float epsilon);

/// Writes dx_NC = gradient through the norm + residual_NC (the gradient that bypasses it), and adds to dgain_C. dx may
/// be the same tensor as dy or residual. rstd and dgain are f32, the others f32 or bf16 alike. Scratch memory is taken
/// and given back.
void rms_norm_backward(TensorView dx_NC, TensorView dgain_C, ConstTensorView dy_NC, ConstTensorView x_NC,
                       ConstTensorView rstd_N, ConstTensorView gain_C, ConstTensorView residual_NC, Arena& scratch);

}  // namespace annulus
