#pragma once
// Softmax cross entropy of one tile of tokens, in place.
#include "runtime/core/tensor.h"

namespace annulus {

enum class LossGradient : bool { kNo, kYes };

/// loss_N = -log softmax(logits_NV)[labels_N], in nats; labels i32 in [0, V), or -1: the token predicts nothing and has
/// loss 0. With kYes the logits are overwritten by gradient_scale * (softmax - onehot), zero where the label is -1.
void cross_entropy(TensorView loss_N, TensorView logits_NV, ConstTensorView labels_N, LossGradient gradient,
                   float gradient_scale);

}  // namespace annulus
