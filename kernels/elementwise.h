#pragma once
// Sums and fills of whole f32 tensors; contiguous, but for fill_zero.
#include "runtime/core/tensor.h"

namespace annulus {

/// sum = a + b, elementwise; sum may be a or b.
void add(TensorView sum, ConstTensorView a, ConstTensorView b);

void fill_zero(TensorView x);

/// In double, with the same bits for any number of threads. 0 for a tensor without memory.
double sum_of_squares(ConstTensorView x);

}  // namespace annulus
