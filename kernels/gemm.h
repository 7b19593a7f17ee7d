#pragma once
// Matrix products.
#include "runtime/core/arena.h"
#include "runtime/core/tensor.h"

namespace annulus {

enum class Transpose : bool { kNo, kYes };
enum class Write : bool { kReplace, kAdd };

/// c (M, N) = op(a) op(b), or += with Write::kAdd; op(a) is (M, K), op(b) is (K, N). Rows have unit stride and
/// may lie apart. a and b are both f32 or both bf16; c is f32 or bf16, rounded once at the end (kAdd: f32 only). Sums
/// are f32. An empty product (any size 0) leaves c zero or unchanged. Scratch memory is taken and given back.
void gemm(TensorView c_MN, ConstTensorView a, Transpose transpose_a, ConstTensorView b, Transpose transpose_b,
          Write write, Arena& scratch);

}  // namespace annulus
