#pragma once
// The language-model head and its loss, in tiles of tokens, so that no more than a tile of logits ever exists. Forward
// and backward of a tile are one step, because the divisor of the loss is known before the first micro-batch.
#include "kernels/cross_entropy.h"
#include "model/batch.h"
#include "model/parameter.h"

namespace annulus {

struct LossResult {
  double sum = 0.0;         // nats, over this rank's labels
  TensorView per_token_BT;  // nats; 0 where nothing is predicted
  TensorView dx_NC;         // gradient of the head's input; only with LossGradient::kYes
};

class LmHead {
 public:
  /// `table`: index of the (V, C) weight in the store, shared with the embedding or the head's own.
  LmHead(ParameterStore& store, int table, int64_t tokens_per_tile)
      : store_(store), table_(table), tokens_per_tile_(tokens_per_tile) {}

  /// With kYes also adds to the weight's gradient. `gradient_scale`: 1 / labels of the whole global batch. Results are
  /// kept in the activation arena.
  LossResult run(ConstTensorView x_NC, const Batch& batch, LossGradient gradient, double gradient_scale,
                 Workspace& workspace) const;

  /// Logits (rows, V), f32, of x (rows, C).
  void logits(TensorView logits, ConstTensorView x, Arena& scratch) const;

 private:
  ParameterStore& store_;
  int table_;
  int64_t tokens_per_tile_;
};

}  // namespace annulus
