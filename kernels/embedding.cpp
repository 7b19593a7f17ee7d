#include "kernels/embedding.h"

#include "kernels/cpu/embedding.h"
#include "kernels/dtypes.h"

namespace annulus {
namespace {

void require_shapes(ConstTensorView rows, ConstTensorView table, ConstTensorView tokens) {
  invariant(rows.rank() == 2 && table.rank() == 2 && rows.dim(1) == table.dim(1) && tokens.numel() == rows.dim(0) &&
                rows.contiguous() && table.contiguous(),
            "embedding: rows ", rows.shape().text(), ", table ", table.shape().text(), ", tokens ", tokens.numel());
  require_dtype("embedding", Dtype::kI32, {{"tokens", tokens}});
}

}  // namespace

void embedding_forward(TensorView y, ConstTensorView table, ConstTensorView tokens) {
  require_shapes(y, table, tokens);
  const Dtype dtype = require_model_dtype("embedding", {{"y", y}, {"table", table}});
  if (y.shape_only()) return;
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    cpu::embedding_forward(y.data<T>(), table.data<T>(), tokens.data<int32_t>(), y.dim(0), y.dim(1));
  });
}

void embedding_backward(TensorView dtable, ConstTensorView dy, ConstTensorView tokens) {
  require_shapes(dy, dtable, tokens);
  require_dtype("embedding", Dtype::kF32, {{"the table's gradient", dtable}});
  const Dtype dtype = require_model_dtype("embedding", {{"dy", dy}});
  if (dy.shape_only()) return;
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    cpu::embedding_backward(dtable.data<float>(), dy.data<T>(), tokens.data<int32_t>(), dy.dim(0), dy.dim(1));
  });
}

}  // namespace annulus
