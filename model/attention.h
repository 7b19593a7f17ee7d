#pragma once
// The attention layer: projections, rotary positions and ring attention. MHA, MQA and GQA (arXiv:2305.13245) are one.
#include "model/batch.h"
#include "model/linear.h"

namespace annulus {

struct AttentionShape {
  int64_t width, heads, kv_heads, head_dim;
};

class Attention {
 public:
  struct Saved {
    ConstTensorView x_NC;
    TensorView qkv;                 // (N, (H + 2 K) D): q and k after the rotation
    TensorView out_BTHD, lse_2BHT;  // of the whole sequence
  };

  /// `prefix`: "layers/0/attention". Weights start at N(0, 1 / fan-in), the output's times residual_scale^2.
  Attention(ParameterStore& store, const std::string& prefix, const AttentionShape& shape, double residual_scale);

  /// Takes what no recomputation makes again, out and lse, from `keep`. Before forward().
  void keep(const Batch& batch, Saved& saved, Arena& keep) const;

  /// x_NC -> y_NC, taken from the scratch arena.
  TensorView forward(ConstTensorView x_NC, const Batch& batch, Saved& saved, Workspace& workspace) const;

  /// The same after keep() and forward(), with the out and lse that were kept: the ring is not run again.
  TensorView forward_again(ConstTensorView x_NC, const Batch& batch, Saved& saved, Workspace& workspace) const;

  /// dy_NC -> dx_NC, taken from the scratch arena; adds to the weights' gradients.
  TensorView backward(ConstTensorView dy_NC, const Batch& batch, const Saved& saved, Workspace& workspace) const;

 private:
  struct Heads {
    TensorView q_BTHD, k_BTKD, v_BTKD;
  };
  Heads split(TensorView qkv, const Batch& batch) const;
  Heads project(ConstTensorView x_NC, const Batch& batch, Saved& saved, Workspace& workspace) const;
  TensorView project_out(const Saved& saved, Workspace& workspace) const;
  float softmax_scale() const;

  AttentionShape shape_;
  Linear qkv_proj_, out_proj_;
};

}  // namespace annulus
