#pragma once
// One decoder block, pre-norm: x += attention(norm(x)), then x += mlp(norm(x)).
#include "model/attention.h"
#include "model/mlp.h"
#include "model/rms_norm.h"

namespace annulus {

class Block {
 public:
  struct Saved {
    RmsNorm::Saved attention_norm, mlp_norm;
    Attention::Saved attention;
    Mlp::Saved mlp;
  };

  /// `residual_scale` makes the initial outputs of attention and MLP smaller, so that the residual stream of a deep
  /// stack does not grow: 1 / sqrt(2 layers).
  Block(ParameterStore& store, const std::string& prefix, const AttentionShape& attention, int64_t ffn, double epsilon,
        double residual_scale);

  /// x_NC -> y_NC, kept in the activation arena.
  TensorView forward(ConstTensorView x_NC, const Batch& batch, Saved& saved, Workspace& workspace) const;

  /// Turns d_NC from the gradient of y into the gradient of x; adds to the weights' gradients.
  void backward(TensorView d_NC, const Batch& batch, const Saved& saved, Workspace& workspace) const;

 private:
  RmsNorm attention_norm_;
  Attention attention_;
  RmsNorm mlp_norm_;
  Mlp mlp_;
};

}  // namespace annulus
