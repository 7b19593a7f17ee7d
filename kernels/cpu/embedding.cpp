#include "kernels/cpu/embedding.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/parallel.h"
#include "runtime/core/bf16.h"

namespace annulus::cpu {
namespace {

float to_float(float x) { return x; }
float to_float(Bf16 x) { return x.to_float(); }

}  // namespace

template <class T>
void embedding_forward(T* y_NC, const T* table_VC, const int32_t* tokens_N, int64_t N, int64_t C) {
  constexpr int64_t kTokensPerItem = 64;
  parallel_for((N + kTokensPerItem - 1) / kTokensPerItem, [&](int64_t item, int) {
    for (int64_t n = item * kTokensPerItem; n < std::min(N, (item + 1) * kTokensPerItem); ++n)
      std::memcpy(y_NC + n * C, table_VC + tokens_N[n] * C, sizeof(T) * static_cast<size_t>(C));
  });
}

// Threads take columns, so that each sum is added up by one of them, in token order.
template <class T>
void embedding_backward(float* dtable_VC, const T* dy_NC, const int32_t* tokens_N, int64_t N, int64_t C) {
  constexpr int64_t kColumnsPerItem = 64;
  parallel_for((C + kColumnsPerItem - 1) / kColumnsPerItem, [&](int64_t item, int) {
    const int64_t begin = item * kColumnsPerItem, end = std::min(C, begin + kColumnsPerItem);
    for (int64_t n = 0; n < N; ++n) {
      float* sum = dtable_VC + tokens_N[n] * C;
      const T* dy = dy_NC + n * C;
      for (int64_t c = begin; c < end; ++c) sum[c] += to_float(dy[c]);
    }
  });
}

template void embedding_forward(float*, const float*, const int32_t*, int64_t, int64_t);
template void embedding_forward(Bf16*, const Bf16*, const int32_t*, int64_t, int64_t);
template void embedding_backward(float*, const float*, const int32_t*, int64_t, int64_t);
template void embedding_backward(float*, const Bf16*, const int32_t*, int64_t, int64_t);

}  // namespace annulus::cpu
