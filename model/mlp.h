#pragma once
// The feed-forward layer: down(silu(gate(x)) * up(x)), arXiv:2002.05202.
#include "model/batch.h"
#include "model/linear.h"

namespace annulus {

class Mlp {
 public:
  struct Saved {
    ConstTensorView x_NC;
    TensorView gate_up;  // (N, 2 F)
    TensorView act_NF;
  };

  Mlp(ParameterStore& store, const std::string& prefix, int64_t width, int64_t ffn, double residual_scale);

  /// x_NC -> y_NC, taken from the scratch arena.
  TensorView forward(ConstTensorView x_NC, Saved& saved, Workspace& workspace) const;

  /// dy_NC -> dx_NC, taken from the scratch arena; adds to the weights' gradients.
  TensorView backward(ConstTensorView dy_NC, const Saved& saved, Workspace& workspace) const;

 private:
  Linear gate_up_proj_, down_proj_;
};

}  // namespace annulus
