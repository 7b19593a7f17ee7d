#include "kernels/gemm.h"

#include "kernels/cpu/gemm.h"
#include "kernels/dtypes.h"
#include "kernels/elementwise.h"

namespace annulus {

void gemm(TensorView c, ConstTensorView a, Transpose transpose_a, ConstTensorView b, Transpose transpose_b, Write write,
          Arena& scratch) {
  const bool ta = transpose_a == Transpose::kYes, tb = transpose_b == Transpose::kYes;
  invariant(c.rank() == 2 && a.rank() == 2 && b.rank() == 2 && c.stride(1) == 1 && a.stride(1) == 1 && b.stride(1) == 1,
            "gemm takes matrices with rows of unit stride");
  invariant(a.dim(ta) == c.dim(0) && b.dim(!tb) == c.dim(1) && a.dim(!ta) == b.dim(tb), "gemm: c is ", c.shape().text(),
            ", op(a) of ", a.shape().text(), " times op(b) of ", b.shape().text(), " does not fit");
  require_model_dtype("gemm", {{"a", a}, {"b", b}});
  const Dtype result = require_model_dtype("gemm", {{"c", c}});
  invariant(result == Dtype::kF32 || a.dtype() == Dtype::kBf16, "gemm: the product of f32 matrices is f32");
  invariant(write == Write::kReplace || result == Dtype::kF32, "gemm: sums over several products are kept in f32");
  if (c.numel() == 0) return;
  if (a.numel() == 0) {
    if (write == Write::kReplace) fill_zero(c);
    return;
  }
  cpu::gemm(c, a, ta, b, tb, write == Write::kAdd, scratch);
}

}  // namespace annulus
