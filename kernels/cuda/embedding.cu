// Rows of a table: copied, and their gradients added up in token order without atomics, so that bits never depend on
// which block comes first.
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/token_order.h"

namespace annulus::cuda {
namespace {

// Word is 16 bytes, or one element.
template <class Word>
__global__ void __launch_bounds__(kThreads)
    embedding_forward_kernel(Word* __restrict__ y, const Word* __restrict__ table, const int32_t* __restrict__ tokens_N,
                             int64_t N, int64_t words) {
  for_all_pieces(N, words,
                 [&](int64_t n, int64_t piece) { y[n * words + piece] = table[tokens_N[n] * words + piece]; });
}

constexpr int kSumThreads = 128;
constexpr int kPlaces = 8;  // of the order, in a sector

// Block (i, j) adds up columns j of the rows of those tokens whose first place in the order is one of the i-th kPlaces.
// All of its threads go the same way; those beyond the last column only lend a hand.
template <int kLanes, class T>
__global__ void __launch_bounds__(kSumThreads)
    embedding_backward_kernel(float* dtable_VC, const T* dy_NC, TokenOrder order, int64_t N, int64_t C) {
  constexpr int32_t kNone = -1;
  const int64_t first = int64_t{blockIdx.x} * kPlaces;
  const int64_t c = (int64_t{blockIdx.y} * kSumThreads + threadIdx.x) * kLanes;
  const bool has_columns = c < C;
  const int32_t before = first > 0 ? order.tokens_N[first - 1] : kNone;
  int32_t token = kNone;  // whose sum it is
  Lanes<kLanes> sum = {};
  for (int64_t begin = first; begin < N; begin += kPlaces) {
    const int64_t place = begin + threadIdx.x % kPlaces;
    const int32_t token_here = place < N ? order.tokens_N[place] : kNone;
    const int32_t index_here = place < N ? order.indices_N[place] : 0;
    for (int i = 0; i < kPlaces; ++i) {
      const int32_t next = __shfl_sync(0xffffffffu, token_here, i);
      const int64_t n = __shfl_sync(0xffffffffu, index_here, i);
      if (next == before) continue;  // another block's
      if (next != token) {
        if (has_columns && token != kNone) store(dtable_VC + token * C + c, sum);
        if (begin != first || next == kNone) return;
        token = next;
        if (has_columns) sum = load<kLanes>(dtable_VC + token * C + c);
      }
      if (!has_columns) continue;
      const Lanes<kLanes> dy = load<kLanes>(dy_NC + n * C + c);
#pragma unroll
      for (int k = 0; k < kLanes; ++k) sum[k] += dy[k];
    }
    if (token == kNone) return;
  }
  if (has_columns && token != kNone) store(dtable_VC + token * C + c, sum);
}

template <class Word, class T>
DeviceError copy_rows(T* y, const T* table, const int32_t* tokens, int64_t N, int64_t C, DeviceStream stream) {
  const int64_t words = C * static_cast<int64_t>(sizeof(T)) / static_cast<int64_t>(sizeof(Word));
  const Grid grid = grid_over(N, words);
  embedding_forward_kernel<Word><<<grid.blocks, grid.threads, 0, stream_of(stream)>>>(
      reinterpret_cast<Word*>(y), reinterpret_cast<const Word*>(table), tokens, N, words);
  return launched();
}

}  // namespace

template <class T>
DeviceError embedding_forward(T* y, const T* table, const int32_t* tokens, int64_t N, int64_t C, DeviceStream stream) {
  if (N == 0 || C == 0) return cudaSuccess;
  return in_words<kLanesOf<T>>(C, y, table) ? copy_rows<uint4>(y, table, tokens, N, C, stream)
                                            : copy_rows<T>(y, table, tokens, N, C, stream);
}

template <class T>
DeviceError embedding_backward(float* dtable, const T* dy, const int32_t* tokens, int64_t N, int64_t V, int64_t C,
                               int32_t* scratch, DeviceStream stream) {
  if (N == 0 || C == 0) return cudaSuccess;
  TokenOrder order;
  if (const DeviceError error = order_tokens(&order, tokens, N, V, scratch, stream)) return error;
  constexpr int kLanes = kLanesOfBoth;
  const bool words = in_words<kLanes>(C, dy) && in_words<kLanes>(C, dtable);
  const dim3 blocks(static_cast<unsigned>(ceil_div(N, kPlaces)),
                    static_cast<unsigned>(ceil_div(C, kSumThreads * (words ? kLanes : 1))));
  const auto kernel = words ? embedding_backward_kernel<kLanes, T> : embedding_backward_kernel<1, T>;
  kernel<<<blocks, kSumThreads, 0, stream_of(stream)>>>(dtable, dy, order, N, C);
  return launched();
}

template DeviceError embedding_forward(float*, const float*, const int32_t*, int64_t, int64_t, DeviceStream);
template DeviceError embedding_forward(Bf16*, const Bf16*, const int32_t*, int64_t, int64_t, DeviceStream);
template DeviceError embedding_backward(float*, const float*, const int32_t*, int64_t, int64_t, int64_t, int32_t*,
                                        DeviceStream);
template DeviceError embedding_backward(float*, const Bf16*, const int32_t*, int64_t, int64_t, int64_t, int32_t*,
                                        DeviceStream);

}  // namespace annulus::cuda
