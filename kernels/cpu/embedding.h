#pragma once
// kernels/embedding.h on a CPU: copies and sums of rows, bound by memory and the same on every instruction set.
#include <cstdint>

namespace annulus::cpu {

// T is float or Bf16.
template <class T>
void embedding_forward(T* y_NC, const T* table_VC, const int32_t* tokens_N, int64_t N, int64_t C);
template <class T>
void embedding_backward(float* dtable_VC, const T* dy_NC, const int32_t* tokens_N, int64_t N, int64_t C);

}  // namespace annulus::cpu
