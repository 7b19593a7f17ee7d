#pragma once
// The decoder language model: embedding, blocks, norm, head and loss.
#include <vector>

#include "model/block.h"
#include "model/embedding.h"
#include "model/loss.h"

namespace annulus {

struct TransformerShape {
  int64_t layers, width, heads, kv_heads, head_dim, ffn, vocab;
  bool tie_embeddings;
  double norm_epsilon;
  int64_t loss_tile;  // tokens whose logits exist at one time
  int64_t mlp_tile;   // tokens that the MLP takes at one time
  Recompute recompute;
};

class Transformer {
 public:
  /// Registers every parameter in `store`, which must outlive the model. Activations have the dtype of its weights.
  Transformer(const TransformerShape& shape, ParameterStore& store);

  /// The loss of this rank's tokens. With kYes it also runs the head's backward and keeps what backward() needs. Resets
  /// the activation arena first. Collective over the ring.
  LossResult forward(const Batch& batch, LossGradient gradient, double gradient_scale, Workspace& workspace);

  /// After forward(kYes) of the same batch: adds to all gradients. Collective over the ring.
  void backward(const Batch& batch, const LossResult& loss, Workspace& workspace);

  /// The logits (B, V) of local token `index` of each sequence, after a forward of the batch without loss.
  void next_token_logits(TensorView logits_BV, const Batch& batch, int64_t index, Workspace& workspace);

  /// Floating-point operations of forward and backward for one sequence: 6 per weight of a matrix and token, and the
  /// pairs that see each other, backward attention counted as 2.5 forward. No recomputation.
  double flops_per_sequence(int64_t num_tokens, int64_t visible_pairs) const;

  const TransformerShape& shape() const { return shape_; }
  RingHeads ring_heads(int64_t B) const {
    return {B, shape_.heads, shape_.kv_heads, shape_.head_dim, shape_.head_dim, dtype_};
  }

 private:
  ConstTensorView hidden(const Batch& batch, Workspace& workspace);  // (N, C), normed

  TransformerShape shape_;
  Dtype dtype_;  // of weights and activations
  Embedding embedding_;
  std::vector<Block> blocks_;
  RmsNorm final_norm_;
  LmHead head_;
  std::vector<Block::Saved> saved_blocks_;
  RmsNorm::Saved saved_norm_;
};

}  // namespace annulus
