#include "model/attention.h"

#include <cmath>

#include "kernels/rope.h"
#include "model/ring_attention.h"

namespace annulus {

Attention::Attention(ParameterStore& store, const std::string& prefix, const AttentionShape& n, double residual_scale)
    : shape_(n),
      qkv_proj_(store,
                {{prefix + "/q_proj", n.heads * n.head_dim},
                 {prefix + "/k_proj", n.kv_heads * n.head_dim},
                 {prefix + "/v_proj", n.kv_heads * n.head_dim}},
                n.width, 1.0 / std::sqrt(static_cast<double>(n.width))),
      out_proj_(store, {{prefix + "/out_proj", n.width}}, n.heads * n.head_dim,
                residual_scale / std::sqrt(static_cast<double>(n.heads * n.head_dim))) {}

Attention::Heads Attention::split(TensorView qkv, const Batch& batch) const {
  const auto& [width, H, K, D] = shape_;
  const TensorView by_token = qkv.reshaped({batch.tokens_BT.dim(0), batch.tokens_BT.dim(1), (H + 2 * K) * D});
  auto heads = [&, D = D](int64_t first, int64_t count) {
    return by_token.narrow(2, first * D, count * D).with_last_split(count, D);
  };
  return {heads(0, H), heads(H, K), heads(H + K, K)};
}

float Attention::softmax_scale() const {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape_.head_dim)));
}

void Attention::keep(const Batch& batch, Saved& saved, Arena& keep) const {
  const int64_t B = batch.tokens_BT.dim(0), T = batch.tokens_BT.dim(1);
  saved.out_BTHD = keep.take({B, T, shape_.heads, shape_.head_dim}, qkv_proj_.dtype());
  saved.lse_2BHT = keep.take({2, B, shape_.heads, T});
}

Attention::Heads Attention::project(ConstTensorView x, const Batch& batch, Saved& saved, Workspace& workspace) const {
  const Mark mark(workspace.timeline(), Activity::kProjections);
  saved.x_NC = x;
  saved.qkv = workspace.activations.take({x.dim(0), qkv_proj_.out()}, x.dtype());
  qkv_proj_.forward(saved.qkv, x, workspace.scratch);
  const Heads heads = split(saved.qkv, batch);
  rope_forward(heads.q_BTHD, batch.cosine_TD2, batch.sine_TD2);
  rope_forward(heads.k_BTKD, batch.cosine_TD2, batch.sine_TD2);
  return heads;
}

TensorView Attention::project_out(const Saved& saved, Workspace& workspace) const {
  const Mark mark(workspace.timeline(), Activity::kProjections);
  const int64_t N = saved.x_NC.dim(0);
  const TensorView y = workspace.scratch.take({N, shape_.width}, saved.x_NC.dtype());
  out_proj_.forward(y, saved.out_BTHD.reshaped({N, out_proj_.in()}), workspace.scratch);
  return y;
}

TensorView Attention::forward(ConstTensorView x, const Batch& batch, Saved& saved, Workspace& workspace) const {
  const Heads heads = project(x, batch, saved, workspace);
  ring_attention_forward(saved.out_BTHD, saved.lse_2BHT, heads.q_BTHD, heads.k_BTKD, heads.v_BTKD, *batch.schedule,
                         {softmax_scale()}, workspace.transport, workspace.scratch);
  return project_out(saved, workspace);
}

TensorView Attention::forward_again(ConstTensorView x, const Batch& batch, Saved& saved, Workspace& workspace) const {
  project(x, batch, saved, workspace);
  return project_out(saved, workspace);
}

TensorView Attention::backward(ConstTensorView dy, const Batch& batch, const Saved& saved, Workspace& workspace) const {
  const int64_t N = dy.dim(0);
  const Heads heads = split(saved.qkv, batch);
  ring_attention_prefetch(heads.k_BTKD, heads.v_BTKD, *batch.schedule, workspace.transport);
  const TensorView dx = workspace.scratch.take({N, shape_.width}, dy.dtype());
  const Arena::Scope scope(workspace.scratch);
  const TensorView dout = workspace.scratch.take(saved.out_BTHD.shape(), dy.dtype());
  {
    const Mark mark(workspace.timeline(), Activity::kProjections);
    out_proj_.backward(dout.reshaped({N, out_proj_.in()}), dy, saved.out_BTHD.reshaped({N, out_proj_.in()}),
                       workspace.scratch);
  }
  const TensorView dqkv = workspace.scratch.take(saved.qkv.shape(), dy.dtype());
  const Heads gradients = split(dqkv, batch);
  ring_attention_backward(gradients.q_BTHD, gradients.k_BTKD, gradients.v_BTKD, heads.q_BTHD, saved.out_BTHD,
                          saved.lse_2BHT, dout, *batch.schedule, {softmax_scale()}, workspace.transport,
                          workspace.scratch);
  const Mark mark(workspace.timeline(), Activity::kProjections);
  rope_backward(gradients.q_BTHD, batch.cosine_TD2, batch.sine_TD2);
  rope_backward(gradients.k_BTKD, batch.cosine_TD2, batch.sine_TD2);
  qkv_proj_.backward(dx, dqkv, saved.x_NC, workspace.scratch);
  return dx;
}

}  // namespace annulus
