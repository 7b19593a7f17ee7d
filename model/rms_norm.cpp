#include "model/rms_norm.h"

#include "kernels/rms_norm.h"

namespace annulus {

RmsNorm::RmsNorm(ParameterStore& store, const std::string& name, int64_t width, double epsilon)
    : store_(store),
      gain_(store.add_stacked({{.name = name, .shape = {width}, .initial_mean = 1.0}})),
      epsilon_(static_cast<float>(epsilon)) {}

TensorView RmsNorm::forward(ConstTensorView x, Saved& saved, Arena& arena) const {
  saved = {x, arena.take({x.dim(0)})};
  const TensorView y = arena.take(x.shape(), x.dtype());
  rms_norm_forward(y, saved.rstd_N, x, store_.weight(gain_), epsilon_);
  return y;
}

void RmsNorm::backward(TensorView residual, ConstTensorView dy, const Saved& saved, Arena& scratch) const {
  rms_norm_backward(residual, store_.gradient(gain_), dy, saved.x_NC, saved.rstd_N, store_.weight(gain_), residual,
                    scratch);
}

}  // namespace annulus
