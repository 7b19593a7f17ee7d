#include "kernels/rms_norm.h"

#include "kernels/cpu/isa.h"

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
  if (y.shape_only()) return;
  cpu::isa_kernels().rms_norm_forward(y.data<float>(), rstd.data<float>(), x.data<float>(), gain.data<float>(), N, C,
                                      epsilon);
}

void rms_norm_backward(TensorView dx, TensorView dgain, ConstTensorView dy, ConstTensorView x, ConstTensorView rstd,
                       ConstTensorView gain, ConstTensorView residual) {
  const int64_t N = x.dim(0), C = x.dim(1);
  require_rows(dx, N, C, "dx");
  require_rows(dy, N, C, "dy");
  require_rows(x, N, C, "x");
  require_rows(residual, N, C, "residual");
  invariant(rstd.numel() == N && gain.numel() == C && dgain.numel() == C, "rms_norm backward: sizes differ");
  if (dx.shape_only()) return;
  cpu::isa_kernels().rms_norm_backward(dx.data<float>(), dgain.data<float>(), dy.data<float>(), x.data<float>(),
                                       rstd.data<float>(), gain.data<float>(), residual.data<float>(), N, C);
}

}  // namespace annulus
