#include "model/block.h"

#include <optional>

#include "kernels/elementwise.h"

namespace annulus {

Block::Block(ParameterStore& store, const std::string& prefix, const AttentionShape& attention, int64_t ffn,
             double epsilon, double residual_scale, int64_t mlp_tile, Recompute recompute)
    : attention_norm_(store, prefix + "/attention_norm", attention.width, epsilon),
      attention_(store, prefix + "/attention", attention, residual_scale),
      mlp_norm_(store, prefix + "/mlp_norm", attention.width, epsilon),
      mlp_(store, prefix + "/mlp", attention.width, ffn, residual_scale, mlp_tile, recompute == Recompute::kNone),
      recompute_(recompute) {}

// The residual stream behind attention, kept in the activation arena with all that backward needs of it.
ConstTensorView Block::until_mlp(Pass pass, const Batch& batch, Saved& saved, Workspace& workspace) const {
  const TensorView middle = workspace.activations.take(saved.x_NC.shape(), saved.x_NC.dtype());
  const Arena::Scope scope(workspace.scratch);
  const TensorView normed = attention_norm_.forward(saved.x_NC, saved.attention_norm, workspace.activations);
  add(middle, saved.x_NC,
      pass == Pass::kFirst ? attention_.forward(normed, batch, saved.attention, workspace)
                           : attention_.forward_again(normed, batch, saved.attention, workspace));
  return middle;
}

TensorView Block::forward(ConstTensorView x, const Batch& batch, Saved& saved, Workspace& workspace) const {
  saved.x_NC = x;
  const TensorView y = workspace.activations.take(x.shape(), x.dtype());
  attention_.keep(batch, saved.attention, workspace.activations);
  std::optional<Arena::Scope> not_kept;
  if (recompute_ == Recompute::kBlock) not_kept.emplace(workspace.activations);
  const ConstTensorView middle = until_mlp(Pass::kFirst, batch, saved, workspace);
  const Mark mark(workspace.timeline(), Activity::kMlp);
  const Arena::Scope scope(workspace.scratch);
  const TensorView normed = mlp_norm_.forward(middle, saved.mlp_norm, workspace.activations);
  add(y, middle, mlp_.forward(normed, saved.mlp, workspace));
  return y;
}

void Block::backward(TensorView d, const Batch& batch, Saved& saved, Workspace& workspace) const {
  const Arena::Scope again(workspace.activations);
  if (recompute_ == Recompute::kBlock) {
    const ConstTensorView middle = until_mlp(Pass::kAgain, batch, saved, workspace);
    saved.mlp.x_NC = mlp_norm_.forward(middle, saved.mlp_norm, workspace.activations);
  }
  {
    const Mark mark(workspace.timeline(), Activity::kMlp);
    const Arena::Scope scope(workspace.scratch);
    mlp_norm_.backward(d, mlp_.backward(d, saved.mlp, workspace), saved.mlp_norm, workspace.scratch);
  }
  const Arena::Scope scope(workspace.scratch);
  attention_norm_.backward(d, attention_.backward(d, batch, saved.attention, workspace), saved.attention_norm,
                           workspace.scratch);
}

}  // namespace annulus
