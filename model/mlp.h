#pragma once
// The feed-forward layer: down(silu(gate(x)) * up(x)), arXiv:2002.05202. It runs in tiles of tokens, so that its wide
// activations need not exist for all of them at once.
#include "model/batch.h"
#include "model/linear.h"

namespace annulus {

class Mlp {
 public:
  struct Saved {
    ConstTensorView x_NC;
    TensorView gate_up;  // (N, 2 F), and
    TensorView act_NF;   // where they are kept; else backward computes them again
  };

  /// `tile`: tokens at a time, in forward and backward alike. `keeps_activations` changes memory, and no bit.
  Mlp(ParameterStore& store, const std::string& prefix, int64_t width, int64_t ffn, double residual_scale, int64_t tile,
      bool keeps_activations);

  /// x_NC -> y_NC, taken from the scratch arena.
  TensorView forward(ConstTensorView x_NC, Saved& saved, Workspace& workspace) const;

  /// dy_NC -> dx_NC, taken from the scratch arena; adds to the weights' gradients.
  TensorView backward(ConstTensorView dy_NC, const Saved& saved, Workspace& workspace) const;

 private:
  struct Tile {
    ConstTensorView x;
    TensorView gate_up, act;
  };
  Tile tile_of(const Saved& saved, int64_t first, int64_t count, Arena& scratch) const;
  void activate(const Tile& tile, Arena& scratch) const;

  Linear gate_up_proj_, down_proj_;
  int64_t tile_;
  bool keeps_activations_;
};

}  // namespace annulus
