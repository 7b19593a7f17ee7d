#pragma once
// Rows of a table. Table, y and dy are f32 or bf16 alike, the table's gradient is f32.
#include "runtime/core/tensor.h"

namespace annulus {

/// y_NC[n] = table_VC[tokens_N[n]]. tokens i32, inside [0, V).
void embedding_forward(TensorView y_NC, ConstTensorView table_VC, ConstTensorView tokens_N);

/// dtable_VC[tokens_N[n]] += dy_NC[n], in token order: the same bits for any number of threads.
void embedding_backward(TensorView dtable_VC, ConstTensorView dy_NC, ConstTensorView tokens_N);

}  // namespace annulus
