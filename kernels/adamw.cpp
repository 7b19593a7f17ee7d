#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/dtypes.h"

namespace annulus {

void adamw(TensorView weight, TensorView master, TensorView m, TensorView v, ConstTensorView gradient,
           const AdamwOptions& o) {
  const int64_t n = weight.numel();
  const bool rounds = require_model_dtype("adamw", {{"weight", weight}}) == Dtype::kBf16;
  require_dtype("adamw", Dtype::kF32, {{"master", master}, {"m", m}, {"v", v}, {"gradient", gradient}});
  invariant(rounds || master.raw() == weight.raw(), "adamw: an f32 weight is its own master");
  invariant(master.numel() == n && m.numel() == n && v.numel() == n && gradient.numel() == n, "adamw: sizes differ");
  if (weight.shape_only()) return;
  const auto t = static_cast<double>(o.step);
  const AdamwStep step = {.learning_rate = o.learning_rate,
                          .beta1 = o.beta1,
                          .beta2 = o.beta2,
                          .epsilon = o.epsilon,
                          .weight_decay = o.weight_decay,
                          .gradient_scale = o.gradient_scale,
                          .correction1 = static_cast<float>(1.0 / (1.0 - std::pow(double{o.beta1}, t))),
                          .correction2 = static_cast<float>(1.0 / (1.0 - std::pow(double{o.beta2}, t)))};
  cpu::isa_kernels().adamw(master.data<float>(), rounds ? weight.data<Bf16>() : nullptr, m.data<float>(),
                           v.data<float>(), gradient.data<float>(), n, step);
}

}  // namespace annulus
