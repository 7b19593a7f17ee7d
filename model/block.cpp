#include "model/block.h"

#include "kernels/elementwise.h"

namespace annulus {

Block::Block(ParameterStore& store, const std::string& prefix, const AttentionShape& attention, int64_t ffn,
             double epsilon, double residual_scale)
    : attention_norm_(store, prefix + "/attention_norm", attention.width, epsilon),
      attention_(store, prefix + "/attention", attention, residual_scale),
      mlp_norm_(store, prefix + "/mlp_norm", attention.width, epsilon),
      mlp_(store, prefix + "/mlp", attention.width, ffn, residual_scale) {}

TensorView Block::forward(ConstTensorView x, const Batch& batch, Saved& saved, Workspace& workspace) const {
  const TensorView middle = workspace.activations.take(x.shape()), y = workspace.activations.take(x.shape());
  {
    const Arena::Scope scope(workspace.scratch);
    const TensorView normed = attention_norm_.forward(x, saved.attention_norm, workspace.activations);
    add(middle, x, attention_.forward(normed, batch, saved.attention, workspace));
  }
  const Arena::Scope scope(workspace.scratch);
  const TensorView normed = mlp_norm_.forward(middle, saved.mlp_norm, workspace.activations);
  add(y, middle, mlp_.forward(normed, saved.mlp, workspace));
  return y;
}

void Block::backward(TensorView d, const Batch& batch, const Saved& saved, Workspace& workspace) const {
  {
    const Arena::Scope scope(workspace.scratch);
    mlp_norm_.backward(d, mlp_.backward(d, saved.mlp, workspace), saved.mlp_norm);
  }
  const Arena::Scope scope(workspace.scratch);
  attention_norm_.backward(d, attention_.backward(d, batch, saved.attention, workspace), saved.attention_norm);
}

}  // namespace annulus
