#pragma once
// SwiGLU, arXiv:2002.05202.
#include "runtime/core/tensor.h"

namespace annulus {

/// y_NF = silu(gate) * up, where a token's gate (F) and up (F) lie side by side in gate_up (N, 2F). All f32 or
/// all bf16, contiguous.
void swiglu_forward(TensorView y_NF, ConstTensorView gate_up);

/// Writes dgate_up (N, 2F).
void swiglu_backward(TensorView dgate_up, ConstTensorView dy_NF, ConstTensorView gate_up);

}  // namespace annulus
