#include "kernels/swiglu.h"

#include "kernels/cpu/isa.h"
#include "kernels/dtypes.h"

namespace annulus {
namespace {

void require_shapes(ConstTensorView y, ConstTensorView gate_up) {
  invariant(y.rank() == 2 && gate_up.rank() == 2 && gate_up.dim(0) == y.dim(0) && gate_up.dim(1) == 2 * y.dim(1) &&
                y.contiguous() && gate_up.contiguous(),
            "swiglu: ", y.shape().text(), " with ", gate_up.shape().text());
}

}  // namespace

void swiglu_forward(TensorView y, ConstTensorView gate_up) {
  require_shapes(y, gate_up);
  const Dtype dtype = require_model_dtype("swiglu", {{"y", y}, {"gate_up", gate_up}});
  if (y.shape_only()) return;
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    cpu::element_kernels<T>().swiglu_forward(y.data<T>(), gate_up.data<T>(), y.dim(0), y.dim(1));
  });
}

void swiglu_backward(TensorView dgate_up, ConstTensorView dy, ConstTensorView gate_up) {
  require_shapes(dy, gate_up);
  require_shapes(dy, dgate_up);
  const Dtype dtype = require_model_dtype("swiglu", {{"dgate_up", dgate_up}, {"dy", dy}, {"gate_up", gate_up}});
  if (dgate_up.shape_only()) return;
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    cpu::element_kernels<T>().swiglu_backward(dgate_up.data<T>(), dy.data<T>(), gate_up.data<T>(), dy.dim(0),
                                              dy.dim(1));
  });
}

}  // namespace annulus
