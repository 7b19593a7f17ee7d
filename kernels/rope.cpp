#include "kernels/rope.h"

#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/dtypes.h"

namespace annulus {
namespace {

void turn(TensorView x, ConstTensorView cosine, ConstTensorView sine, float sign) {
  const int64_t B = x.dim(0), T = x.dim(1), heads = x.dim(2), D = x.dim(3);
  invariant(cosine.dim(0) == T && cosine.dim(1) * 2 == D && sine.shape() == cosine.shape(), "rope has angles ",
            cosine.shape().text(), " for ", x.shape().text(), "; build the table from this rank's positions");
  invariant(x.stride(3) == 1 && x.stride(2) == D && x.stride(0) == T * x.stride(1), "rope: strides of x");
  const Dtype dtype = require_model_dtype("rope", {{"x", x}});
  require_dtype("rope", Dtype::kF32, {{"cosine", cosine}, {"sine", sine}});
  if (x.shape_only()) return;
  with_element(dtype, [&](auto element) {
    using Element = decltype(element);
    cpu::element_kernels<Element>().rope(x.data<Element>(), x.stride(1), cosine.data<float>(), sine.data<float>(),
                                         B * T, T, heads, D, sign);
  });
}

}  // namespace

void rope_angles(TensorView cosine, TensorView sine, std::span<const int64_t> positions, double base) {
  const auto T = static_cast<int64_t>(positions.size());
  const int64_t half = cosine.dim(1);
  invariant(cosine.dim(0) == T && sine.shape() == cosine.shape(), "rope_angles: ", T, " positions for ",
            cosine.shape().text());
  if (cosine.shape_only()) return;
  for (int64_t i = 0; i < half; ++i) {
    const double frequency = std::pow(base, -static_cast<double>(i) / static_cast<double>(half));
    for (int64_t t = 0; t < T; ++t) {
      const double angle = static_cast<double>(positions[static_cast<size_t>(t)]) * frequency;
      cosine.data<float>()[t * half + i] = static_cast<float>(std::cos(angle));
      sine.data<float>()[t * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void rope_forward(TensorView x, ConstTensorView cosine, ConstTensorView sine) { turn(x, cosine, sine, 1.0f); }
void rope_backward(TensorView dx, ConstTensorView cosine, ConstTensorView sine) { turn(dx, cosine, sine, -1.0f); }

}  // namespace annulus
