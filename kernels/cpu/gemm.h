#pragma once
// Matrix products by oneDNN. A primitive is made once per shape and kept; its scratchpad comes from the caller's arena.
#include <string>
#include <string_view>

#include "runtime/core/arena.h"
#include "runtime/core/tensor.h"

namespace annulus::cpu {

/// c (+)= op(a) op(b) for two-dimensional views with unit stride along rows; see kernels/gemm.h. On shape-only tensors
/// it makes the primitive and takes its scratchpad, but does not run. a and b are both f32 or both bf16.
void gemm(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, bool accumulate,
          Arena& scratch);

/// The same for bf16 operands on instruction sets without bf16 products, by products of f32.
void gemm_widened(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b,
                  bool accumulate, Arena& scratch);

/// Keeps oneDNN to an instruction set that was forced ("plain": SSE4.1, "avx2", "avx512", "avx512_bf16"). Before the
/// first product.
void limit_gemm_isa(std::string_view name);

/// "2.6.3"
std::string gemm_library_version();

}  // namespace annulus::cpu
