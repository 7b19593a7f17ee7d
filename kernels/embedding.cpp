#include "kernels/embedding.h"

#include "kernels/cpu/embedding.h"

namespace annulus {
namespace {

void require_shapes(ConstTensorView rows, ConstTensorView table, ConstTensorView tokens) {
  invariant(rows.rank() == 2 && table.rank() == 2 && rows.dim(1) == table.dim(1) && tokens.numel() == rows.dim(0) &&
                rows.contiguous() && table.contiguous(),
            "embedding: rows ", rows.shape().text(), ", table ", table.shape().text(), ", tokens ", tokens.numel());
}

}  // namespace

void embedding_forward(TensorView y, ConstTensorView table, ConstTensorView tokens) {
  require_shapes(y, table, tokens);
  if (y.shape_only()) return;
  cpu::embedding_forward(y.data<float>(), table.data<float>(), tokens.data<int32_t>(), y.dim(0), y.dim(1));
}

void embedding_backward(TensorView dtable, ConstTensorView dy, ConstTensorView tokens) {
  require_shapes(dy, dtable, tokens);
  if (dy.shape_only()) return;
  cpu::embedding_backward(dtable.data<float>(), dy.data<float>(), tokens.data<int32_t>(), dy.dim(0), dy.dim(1));
}

}  // namespace annulus
