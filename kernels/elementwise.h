#pragma once
// Sums, fills and conversions of whole tensors; contiguous, but for fill_zero and convert.
#include "runtime/core/tensor.h"

namespace annulus {

/// sum = a + b, elementwise, all f32 or all bf16; sum may be a or b.
void add(TensorView sum, ConstTensorView a, ConstTensorView b);

void fill_zero(TensorView x);

/// dst = src, of one shape and each f32 or bf16: to bf16 rounded to nearest even, NaN kept. Outer dimensions may lie
/// apart, the last has unit stride.
void convert(TensorView dst, ConstTensorView src);

/// Of an f32 tensor, in double, with the same bits for any number of threads. 0 for a tensor without memory.
double sum_of_squares(ConstTensorView x);

}  // namespace annulus
