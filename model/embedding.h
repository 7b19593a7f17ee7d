#pragma once
// Token embeddings.
#include "model/batch.h"
#include "model/parameter.h"

namespace annulus {

class Embedding {
 public:
  Embedding(ParameterStore& store, const std::string& name, int64_t vocab, int64_t width, double spread);

  /// tokens_BT -> y_NC, kept in the activation arena.
  TensorView forward(ConstTensorView tokens_BT, Workspace& workspace) const;
  /// Adds to the table's gradient.
  void backward(ConstTensorView dy_NC, ConstTensorView tokens_BT) const;

  int table() const { return table_; }  // index in the store

 private:
  ParameterStore& store_;
  int table_;
};

}  // namespace annulus
