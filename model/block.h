#pragma once
// One decoder block, pre-norm: x += attention(norm(x)), then x += mlp(norm(x)). Backward needs what lies between; what
// of it forward keeps, and what backward computes again, is a matter of memory and changes no bit.
#include "model/attention.h"
#include "model/mlp.h"
#include "model/rms_norm.h"

namespace annulus {

/// What is computed again in backward: nothing; the MLP's activations, tile by tile; or all but the block's input and
/// the out and lse of its attention, so that the ring is never run again.
enum class Recompute { kNone, kMlp, kBlock };

class Block {
 public:
  struct Saved {
    ConstTensorView x_NC;
    RmsNorm::Saved attention_norm, mlp_norm;
    Attention::Saved attention;
    Mlp::Saved mlp;
  };

  /// `residual_scale` makes the initial outputs of attention and MLP smaller, so that the residual stream of a deep
  /// stack does not grow: 1 / sqrt(2 layers).
  Block(ParameterStore& store, const std::string& prefix, const AttentionShape& attention, int64_t ffn, double epsilon,
        double residual_scale, int64_t mlp_tile, Recompute recompute);

  /// x_NC -> y_NC, kept in the activation arena.
  TensorView forward(ConstTensorView x_NC, const Batch& batch, Saved& saved, Workspace& workspace) const;

  /// Turns d_NC from the gradient of y into the gradient of x; adds to the weights' gradients.
  void backward(TensorView d_NC, const Batch& batch, Saved& saved, Workspace& workspace) const;

 private:
  enum class Pass { kFirst, kAgain };
  ConstTensorView until_mlp(Pass pass, const Batch& batch, Saved& saved, Workspace& workspace) const;

  RmsNorm attention_norm_;
  Attention attention_;
  RmsNorm mlp_norm_;
  Mlp mlp_;
  Recompute recompute_;
};

}  // namespace annulus
