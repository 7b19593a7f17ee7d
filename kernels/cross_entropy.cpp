#include "kernels/cross_entropy.h"

#include "kernels/cpu/isa.h"
#include "kernels/dtypes.h"

namespace annulus {

void cross_entropy(TensorView loss, TensorView dlogits, ConstTensorView logits, ConstTensorView labels,
                   LossGradient gradient, float gradient_scale) {
  const int64_t N = logits.dim(0), V = logits.dim(1);
  const bool backward = gradient == LossGradient::kYes;
  invariant(loss.numel() == N && labels.numel() == N && logits.contiguous(), "cross_entropy: ", N, " tokens, ",
            loss.numel(), " losses, ", labels.numel(), " labels");
  invariant(!backward || (dlogits.shape() == logits.shape() && dlogits.contiguous()), "cross_entropy: dlogits ",
            dlogits.shape().text(), " of logits ", logits.shape().text());
  require_dtype("cross_entropy", Dtype::kF32, {{"loss", loss}, {"logits", logits}});
  require_dtype("cross_entropy", Dtype::kI32, {{"labels", labels}});
  const Dtype dtype = backward ? require_model_dtype("cross_entropy", {{"dlogits", dlogits}}) : Dtype::kF32;
  if (logits.shape_only()) return;
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    cpu::element_kernels<T>().cross_entropy(loss.data<float>(), backward ? dlogits.data<T>() : nullptr,
                                            logits.data<float>(), labels.data<int32_t>(), N, V, gradient_scale);
  });
}

}  // namespace annulus
