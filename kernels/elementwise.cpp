#include "kernels/elementwise.h"

#include <cstring>

#include "kernels/cpu/isa.h"

namespace annulus {

void add(TensorView sum, ConstTensorView a, ConstTensorView b) {
  invariant(
      sum.contiguous() && a.contiguous() && b.contiguous() && a.numel() == sum.numel() && b.numel() == sum.numel(),
      "add: ", sum.shape().text(), " from ", a.shape().text(), " and ", b.shape().text());
  if (!sum.shape_only()) cpu::isa_kernels().add(sum.data<float>(), a.data<float>(), b.data<float>(), sum.numel());
}

void fill_zero(TensorView x) {
  if (x.shape_only() || x.numel() == 0) return;
  // Peel off outer dimensions until what is left is one run of memory.
  if (!x.contiguous()) {
    for (int64_t i = 0; i < x.dim(0); ++i) fill_zero(x.at(i));
    return;
  }
  std::memset(x.raw(), 0, static_cast<size_t>(x.bytes()));
}

double sum_of_squares(ConstTensorView x) {
  invariant(x.contiguous(), "sum_of_squares of a strided tensor");
  return x.shape_only() ? 0.0 : cpu::isa_kernels().sum_of_squares(x.data<float>(), x.numel());
}

}  // namespace annulus
