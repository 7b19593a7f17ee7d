#include "kernels/elementwise.h"

#include <cstring>

#include "kernels/cpu/isa.h"
#include "kernels/dtypes.h"

namespace annulus {
namespace {

void convert_rows(TensorView dst, ConstTensorView src) {
  invariant(dst.stride(1) == 1 && src.stride(1) == 1, "convert takes rows of unit stride");
  const int64_t rows = dst.dim(0), columns = dst.dim(1);
  with_element(dst.dtype(), [&](auto element) {
    using T = decltype(element);
    const auto& kernels = cpu::element_kernels<T>();
    if (src.dtype() == Dtype::kF32)
      kernels.from_f32(dst.data<T>(), dst.stride(0), src.data<float>(), src.stride(0), rows, columns);
    else
      kernels.from_bf16(dst.data<T>(), dst.stride(0), src.data<Bf16>(), src.stride(0), rows, columns);
  });
}

}  // namespace

void add(TensorView sum, ConstTensorView a, ConstTensorView b) {
  invariant(
      sum.contiguous() && a.contiguous() && b.contiguous() && a.numel() == sum.numel() && b.numel() == sum.numel(),
      "add: ", sum.shape().text(), " from ", a.shape().text(), " and ", b.shape().text());
  const Dtype dtype = require_model_dtype("add", {{"sum", sum}, {"a", a}, {"b", b}});
  if (sum.shape_only()) return;
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    cpu::element_kernels<T>().add(sum.data<T>(), a.data<T>(), b.data<T>(), sum.numel());
  });
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

void convert(TensorView dst, ConstTensorView src) {
  invariant(dst.shape() == src.shape(), "convert: ", src.shape().text(), " to ", dst.shape().text());
  require_model_dtype("convert", {{"dst", dst}});
  require_model_dtype("convert", {{"src", src}});
  if (dst.shape_only() || dst.numel() == 0) return;
  if (dst.contiguous() && src.contiguous())
    convert_rows(dst.reshaped({1, dst.numel()}), src.reshaped({1, src.numel()}));
  else if (dst.rank() > 2)
    for (int64_t i = 0; i < dst.dim(0); ++i) convert(dst.at(i), src.at(i));
  else
    convert_rows(dst, src);
}

double sum_of_squares(ConstTensorView x) {
  invariant(x.contiguous(), "sum_of_squares of a strided tensor");
  require_dtype("sum_of_squares", Dtype::kF32, {{"x", x}});
  return x.shape_only() ? 0.0 : cpu::isa_kernels().sum_of_squares(x.data<float>(), x.numel());
}

}  // namespace annulus
