#include "kernels/gemm.h"

#include <cstring>

#include "kernels/cpu/gemm.h"

namespace annulus {
namespace {

void clear(TensorView c) {
  if (c.shape_only()) return;
  for (int64_t row = 0; row < c.dim(0); ++row)
    std::memset(c.data<float>() + row * c.stride(0), 0, sizeof(float) * static_cast<size_t>(c.dim(1)));
}

}  // namespace

void gemm(TensorView c, ConstTensorView a, Transpose transpose_a, ConstTensorView b, Transpose transpose_b, Write write,
          Arena& scratch) {
  const bool ta = transpose_a == Transpose::kYes, tb = transpose_b == Transpose::kYes;
  invariant(c.rank() == 2 && a.rank() == 2 && b.rank() == 2 && c.stride(1) == 1 && a.stride(1) == 1 && b.stride(1) == 1,
            "gemm takes matrices with rows of unit stride");
  invariant(a.dim(ta) == c.dim(0) && b.dim(!tb) == c.dim(1) && a.dim(!ta) == b.dim(tb), "gemm: c is ", c.shape().text(),
            ", op(a) of ", a.shape().text(), " times op(b) of ", b.shape().text(), " does not fit");
  if (c.numel() == 0) return;
  if (a.numel() == 0) {
    if (write == Write::kReplace) clear(c);
    return;
  }
  cpu::gemm(c, a, ta, b, tb, write == Write::kAdd, scratch);
}

}  // namespace annulus
