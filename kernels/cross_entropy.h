#pragma once
// Softmax cross entropy of one tile of tokens.
#include "runtime/core/tensor.h"

namespace annulus {

enum class LossGradient : bool { kNo, kYes };

/// loss_N = -log softmax(logits_NV)[labels_N], in nats; labels i32 in [0, V), or -1: the token predicts nothing and has
/// loss 0. With kYes, dlogits_NV = gradient_scale * (softmax - onehot), zero where the label is -1; with kNo it is not
/// touched. Loss and logits are f32; dlogits f32, then it may be the very tensor of the logits, or bf16, apart.
void cross_entropy(TensorView loss_N, TensorView dlogits_NV, ConstTensorView logits_NV, ConstTensorView labels_N,
                   LossGradient gradient, float gradient_scale);

}  // namespace annulus
