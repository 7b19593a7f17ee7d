#include "model/transformer.h"

#include <cmath>

#include "kernels/elementwise.h"

namespace annulus {
namespace {

constexpr double kEmbeddingSpread = 0.02;  // small: tied to the head, it must start with nearly equal logits

std::vector<Block> make_blocks(const TransformerShape& n, ParameterStore& store) {
  const double residual_scale = 1.0 / std::sqrt(2.0 * static_cast<double>(n.layers));
  std::vector<Block> blocks;
  for (int64_t layer = 0; layer < n.layers; ++layer)
    blocks.emplace_back(store, "layers/" + std::to_string(layer),
                        AttentionShape{n.width, n.heads, n.kv_heads, n.head_dim}, n.ffn, n.norm_epsilon, residual_scale,
                        n.mlp_tile, n.recompute);
  return blocks;
}

int head_table(const TransformerShape& n, ParameterStore& store, const Embedding& embedding) {
  if (n.tie_embeddings) return embedding.table();
  return store.add_stacked({{.name = "head", .shape = {n.vocab, n.width}, .initial_spread = kEmbeddingSpread}});
}

}  // namespace

Transformer::Transformer(const TransformerShape& n, ParameterStore& store)
    : shape_(n),
      dtype_(store.dtype()),
      embedding_(store, "embedding", n.vocab, n.width, kEmbeddingSpread),
      blocks_(make_blocks(n, store)),
      final_norm_(store, "final_norm", n.width, n.norm_epsilon),
      head_(store, head_table(n, store, embedding_), n.loss_tile),
      saved_blocks_(blocks_.size()) {}

ConstTensorView Transformer::hidden(const Batch& batch, Workspace& workspace) {
  workspace.activations.reset();
  TensorView x = embedding_.forward(batch.tokens_BT, workspace);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    const Mark mark(workspace.timeline(), {.activity = Activity::kLayer, .layer = static_cast<int>(layer)});
    x = blocks_[layer].forward(x, batch, saved_blocks_[layer], workspace);
  }
  return final_norm_.forward(x, saved_norm_, workspace.activations);
}

LossResult Transformer::forward(const Batch& batch, LossGradient gradient, double gradient_scale,
                                Workspace& workspace) {
  const ConstTensorView x = hidden(batch, workspace);
  const Mark mark(workspace.timeline(), Activity::kLoss);
  return head_.run(x, batch, gradient, gradient_scale, workspace);
}

void Transformer::backward(const Batch& batch, const LossResult& loss, Workspace& workspace) {
  const Arena::Scope scope(workspace.scratch);
  const TensorView d = workspace.scratch.take(loss.dx_NC.shape(), loss.dx_NC.dtype());
  fill_zero(d);
  final_norm_.backward(d, loss.dx_NC, saved_norm_, workspace.scratch);
  for (size_t layer = blocks_.size(); layer-- > 0;) {
    const Mark mark(workspace.timeline(),
                    {.activity = Activity::kLayer, .backward = true, .layer = static_cast<int>(layer)});
    blocks_[layer].backward(d, batch, saved_blocks_[layer], workspace);
  }
  embedding_.backward(d, batch.tokens_BT);
}

void Transformer::next_token_logits(TensorView logits, const Batch& batch, int64_t index, Workspace& workspace) {
  const int64_t B = batch.tokens_BT.dim(0), T = batch.tokens_BT.dim(1);
  const ConstTensorView x = hidden(batch, workspace);
  for (int64_t b = 0; b < B; ++b)
    head_.logits(logits.narrow(0, b, 1), x.narrow(0, b * T + index, 1), workspace.scratch);
}

double Transformer::flops_per_sequence(int64_t num_tokens, int64_t visible_pairs) const {
  const auto& n = shape_;
  const double projections =
      static_cast<double>(n.width) * static_cast<double>((2 * n.heads + 2 * n.kv_heads) * n.head_dim);
  const double mlp = 3.0 * static_cast<double>(n.width) * static_cast<double>(n.ffn);
  const double head = static_cast<double>(n.vocab) * static_cast<double>(n.width);
  const double weights = static_cast<double>(n.layers) * (projections + mlp) + head;
  const double attention_forward = 4.0 * static_cast<double>(visible_pairs) * static_cast<double>(n.heads * n.head_dim);
  return 6.0 * weights * static_cast<double>(num_tokens) + static_cast<double>(n.layers) * 3.5 * attention_forward;
}

}  // namespace annulus
