#include "model/linear.h"

#include "kernels/gemm.h"

namespace annulus {

Linear::Linear(ParameterStore& store, const std::vector<std::pair<std::string, int64_t>>& names, int64_t in,
               double spread)
    : store_(store), count_(static_cast<int>(names.size())) {
  std::vector<Parameter> stack;
  for (const auto& [name, rows] : names) stack.push_back({.name = name, .shape = {rows, in}, .initial_spread = spread});
  first_ = store.add_stacked(std::move(stack));
}

void Linear::forward(TensorView y, ConstTensorView x, Arena& scratch) const {
  gemm(y, x, Transpose::kNo, store_.weight(first_, count_), Transpose::kYes, Write::kReplace, scratch);
}

void Linear::backward(TensorView dx, ConstTensorView dy, ConstTensorView x, Arena& scratch) const {
  gemm(dx, dy, Transpose::kNo, store_.weight(first_, count_), Transpose::kNo, Write::kReplace, scratch);
  gemm(store_.gradient(first_, count_), dy, Transpose::kYes, x, Transpose::kNo, Write::kAdd, scratch);
}

}  // namespace annulus
