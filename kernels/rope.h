#pragma once
// Rotary positions, arXiv:2104.09864, in the half-split layout: component i turns with component i + D/2.
#include <cstdint>
#include <span>

#include "runtime/core/tensor.h"

namespace annulus {

/// cosine_TD2 and sine_TD2 (T, D/2) of position * base^(-2i/D); computed in double, rounded once.
void rope_angles(TensorView cosine_TD2, TensorView sine_TD2, std::span<const int64_t> positions, double base);

/// Turns x_BTHD, f32 or bf16, in place (heads and components contiguous; tokens may lie apart); the T tokens have the
/// angles' positions. Angles are f32.
void rope_forward(TensorView x_BTHD, ConstTensorView cosine_TD2, ConstTensorView sine_TD2);

/// The gradient: turns back.
void rope_backward(TensorView dx_BTHD, ConstTensorView cosine_TD2, ConstTensorView sine_TD2);

}  // namespace annulus
