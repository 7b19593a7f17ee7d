#pragma once
// How front functions check element types, once for all backends.
#include <initializer_list>
#include <utility>

#include "runtime/core/tensor.h"

namespace annulus {

/// A tensor and what the op calls it, for the message.
struct Operand {
  const char* name;
  const ConstTensorView& tensor;
};

inline void require_dtype(const char* op, Dtype dtype, std::initializer_list<Operand> operands) {
  for (const auto& [name, tensor] : operands)
    invariant(tensor.dtype() == dtype, op, ": ", name, " is ", name_of(tensor.dtype()), ", expected ", name_of(dtype));
}

/// The dtype that all operands have: f32 or bf16.
inline Dtype require_model_dtype(const char* op, std::initializer_list<Operand> operands) {
  const Operand& first = *operands.begin();
  const Dtype dtype = first.tensor.dtype();
  invariant(dtype == Dtype::kF32 || dtype == Dtype::kBf16, op, ": ", first.name, " is ", name_of(dtype),
            ", expected f32 or bf16");
  require_dtype(op, dtype, operands);
  return dtype;
}

/// body(float{}) or body(Bf16{}): decltype of the argument is the element type.
template <class Body>
void with_element(Dtype dtype, Body&& body) {
  dtype == Dtype::kF32 ? body(float{}) : body(Bf16{});
}

}  // namespace annulus
