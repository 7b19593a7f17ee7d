#include "kernels/gemm.h"

#include "kernels/cpu/isa.h"
#include "kernels/dtypes.h"
#include "kernels/elementwise.h"

namespace annulus {
namespace {

template <class T>
void multiply(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, bool accumulate,
              Arena& scratch) {
  const bool rounds = c.dtype() == Dtype::kBf16;
  cpu::GemmCall<T> call = {.a = a.data<T>(),
                           .a_row = a.stride(0),
                           .transpose_a = transpose_a,
                           .b = b.data<T>(),
                           .b_row = b.stride(0),
                           .transpose_b = transpose_b,
                           .c_f32 = rounds ? nullptr : c.data<float>(),
                           .c_bf16 = rounds ? c.data<Bf16>() : nullptr,
                           .rounds = rounds,
                           .c_row = c.stride(0),
                           .M = c.dim(0),
                           .N = c.dim(1),
                           .K = a.dim(!transpose_a),
                           .accumulate = accumulate,
                           .scratch = nullptr};
  const auto& kernels = cpu::element_kernels<T>();
  const Arena::Scope scope(scratch);
  const TensorView packed = scratch.take({kernels.gemm_scratch_words(call, cpu::num_threads())});
  if (c.shape_only()) return;
  call.scratch = packed.data<float>();
  kernels.gemm(call, cpu::num_threads());
}

}  // namespace

void gemm(TensorView c, ConstTensorView a, Transpose transpose_a, ConstTensorView b, Transpose transpose_b, Write write,
          Arena& scratch) {
  const bool ta = transpose_a == Transpose::kYes, tb = transpose_b == Transpose::kYes;
  invariant(c.rank() == 2 && a.rank() == 2 && b.rank() == 2 && c.stride(1) == 1 && a.stride(1) == 1 && b.stride(1) == 1,
            "gemm takes matrices with rows of unit stride");
  invariant(a.dim(ta) == c.dim(0) && b.dim(!tb) == c.dim(1) && a.dim(!ta) == b.dim(tb), "gemm: c is ", c.shape().text(),
            ", op(a) of ", a.shape().text(), " times op(b) of ", b.shape().text(), " does not fit");
  const Dtype operands = require_model_dtype("gemm", {{"a", a}, {"b", b}});
  const Dtype result = require_model_dtype("gemm", {{"c", c}});
  invariant(result == Dtype::kF32 || operands == Dtype::kBf16, "gemm: the product of f32 matrices is f32");
  invariant(write == Write::kReplace || result == Dtype::kF32, "gemm: sums over several products are kept in f32");
  if (c.numel() == 0) return;
  if (a.numel() == 0) {
    if (write == Write::kReplace) fill_zero(c);
    return;
  }
  with_element(operands,
               [&](auto element) { multiply<decltype(element)>(c, a, ta, b, tb, write == Write::kAdd, scratch); });
}

}  // namespace annulus
