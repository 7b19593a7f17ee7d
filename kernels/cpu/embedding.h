#pragma once
// kernels/embedding.h on a CPU: copies and sums of rows, bound by memory and the same on every instruction set.
#include <cstdint>

namespace annulus::cpu {

void embedding_forward(float* y_NC, const float* table_VC, const int32_t* tokens_N, int64_t N, int64_t C);
void embedding_backward(float* dtable_VC, const float* dy_NC, const int32_t* tokens_N, int64_t N, int64_t C);

}  // namespace annulus::cpu
