#include "model/loss.h"

#include "kernels/gemm.h"
#include "model/token_tiles.h"

namespace annulus {
namespace {

// In double and in token order: adding ranks or tiles changes no more than the last bits of the sum.
double sum_of(ConstTensorView loss) {
  if (loss.shape_only()) return 0.0;
  double sum = 0.0;
  for (int64_t n = 0; n < loss.numel(); ++n) sum += static_cast<double>(loss.data<float>()[n]);
  return sum;
}

}  // namespace

void LmHead::logits(TensorView logits, ConstTensorView x, Arena& scratch) const {
  gemm(logits, x, Transpose::kNo, store_.weight(table_), Transpose::kYes, Write::kReplace, scratch);
}

LossResult LmHead::run(ConstTensorView x, const Batch& batch, LossGradient gradient, double gradient_scale,
                       Workspace& workspace) const {
  const int64_t N = x.dim(0), V = store_.weight(table_).dim(0);
  const bool backward = gradient == LossGradient::kYes;
  LossResult result;
  result.per_token_BT = workspace.activations.take(batch.labels_BT.shape());
  if (backward) result.dx_NC = workspace.activations.take(x.shape(), x.dtype());
  const TensorView losses = result.per_token_BT.reshaped({N}), labels = batch.labels_BT.reshaped({N});
  for_token_tiles(N, tokens_per_tile_, x.shape_only(), [&](int64_t first, int64_t count) {
    const Arena::Scope scope(workspace.scratch);
    const ConstTensorView x_tile = x.narrow(0, first, count);
    const TensorView z = workspace.scratch.take({count, V});
    logits(z, x_tile, workspace.scratch);
    // Of the logits' very dtype they may take their place; bf16 ones are what both products below read.
    const TensorView dz = x.dtype() == Dtype::kF32 || !backward ? z : workspace.scratch.take({count, V}, x.dtype());
    cross_entropy(losses.narrow(0, first, count), dz, z, labels.narrow(0, first, count), gradient,
                  static_cast<float>(gradient_scale));
    if (!backward) return;
    gemm(result.dx_NC.narrow(0, first, count), dz, Transpose::kNo, store_.weight(table_), Transpose::kNo,
         Write::kReplace, workspace.scratch);
    gemm(store_.gradient(table_), dz, Transpose::kYes, x_tile, Transpose::kNo, Write::kAdd, workspace.scratch);
  });
  result.sum = sum_of(losses);
  return result;
}

}  // namespace annulus
