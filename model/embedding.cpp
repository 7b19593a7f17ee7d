#include "model/embedding.h"

#include "kernels/embedding.h"

namespace annulus {

Embedding::Embedding(ParameterStore& store, const std::string& name, int64_t vocab, int64_t width, double spread)
    : store_(store), table_(store.add_stacked({{.name = name, .shape = {vocab, width}, .initial_spread = spread}})) {}

TensorView Embedding::forward(ConstTensorView tokens, Workspace& workspace) const {
  const ConstTensorView table = store_.weight(table_);
  const TensorView y = workspace.activations.take({tokens.numel(), table.dim(1)}, table.dtype());
  embedding_forward(y, table, tokens);
  return y;
}

void Embedding::backward(ConstTensorView dy, ConstTensorView tokens) const {
  embedding_backward(store_.gradient(table_), dy, tokens);
}

}  // namespace annulus
