#include "kernels/rms_norm.h"

#include "kernels/cpu/isa.h"
#include "kernels/dtypes.h"

namespace annulus {
namespace {

void require_rows(ConstTensorView x, int64_t N, int64_t C, const char* name) {
  invariant(x.rank() == 2 && x.dim(0) == N && x.dim(1) == C && x.contiguous(), "rms_norm: ", name, " is ",
            x.shape().text(), ", expected (", N, ", ", C, ")");
}

}  // namespace

void rms_norm_forward(TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView gain, float epsilon) {
  const int64_t N = x.dim(0), C = x.dim(1);
  require_rows(x, N, C, "x");
  require_rows(y, N, C, "y");
  invariant(rstd.numel() == N && gain.numel() == C, "rms_norm: rstd ", rstd.numel(), ", gain ", gain.numel());
  const Dtype dtype = require_model_dtype("rms_norm", {{"x", x}, {"y", y}, {"gain", gain}});
  require_dtype("rms_norm", Dtype::kF32, {{"rstd", rstd}});
  if (y.shape_only()) return;
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    cpu::element_kernels<T>().rms_norm_forward(y.data<T>(), rstd.data<float>(), x.data<T>(), gain.data<T>(), N, C,
                                               epsilon);
  });
}

void rms_norm_backward(TensorView dx, TensorView dgain, ConstTensorView dy, ConstTensorView x, ConstTensorView rstd,
                       ConstTensorView gain, ConstTensorView residual, Arena& scratch) {
  const int64_t N = x.dim(0), C = x.dim(1);
  require_rows(dx, N, C, "dx");
  require_rows(dy, N, C, "dy");
  require_rows(x, N, C, "x");
  require_rows(residual, N, C, "residual");
  invariant(rstd.numel() == N && gain.numel() == C && dgain.numel() == C, "rms_norm backward: sizes differ");
  const Dtype dtype =
      require_model_dtype("rms_norm", {{"x", x}, {"dx", dx}, {"dy", dy}, {"gain", gain}, {"residual", residual}});
  require_dtype("rms_norm", Dtype::kF32, {{"rstd", rstd}, {"dgain", dgain}});
  const Arena::Scope scope(scratch);
  const TensorView sums = scratch.take({(N + cpu::kTokensPerNormSum - 1) / cpu::kTokensPerNormSum, C});
  if (dx.shape_only()) return;
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    cpu::element_kernels<T>().rms_norm_backward(dx.data<T>(), dgain.data<float>(), dy.data<T>(), x.data<T>(),
                                                rstd.data<float>(), gain.data<T>(), residual.data<T>(), N, C,
                                                sums.data<float>());
  });
}

}  // namespace annulus
