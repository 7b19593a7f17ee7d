#include "kernels/cross_entropy.h"

#include "kernels/cpu/isa.h"

namespace annulus {

void cross_entropy(TensorView loss, TensorView logits, ConstTensorView labels, LossGradient gradient,
                   float gradient_scale) {
  const int64_t N = logits.dim(0), V = logits.dim(1);
  invariant(loss.numel() == N && labels.numel() == N && logits.contiguous(), "cross_entropy: ", N, " tokens, ",
            loss.numel(), " losses, ", labels.numel(), " labels");
  if (logits.shape_only()) return;
  cpu::isa_kernels().cross_entropy(loss.data<float>(), logits.data<float>(), labels.data<int32_t>(), N, V,
                                   gradient == LossGradient::kYes, gradient_scale);
}

}  // namespace annulus
