// Rows of a table: copied, and their gradients added up in token order without atomics, so that bits never depend on
// which block comes first.
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ops.h"

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
constexpr int kWarps = kSumThreads / kWarp;

// Whether tokens [0, first) hold the one at `first`. All threads of the block have the answer.
__device__ bool seen_before(const int32_t* tokens_N, int64_t first) {
  constexpr int64_t kWindow = 8 * kSumThreads;
  for (int64_t begin = 0; begin < first; begin += kWindow) {
    const int64_t end = begin + kWindow < first ? begin + kWindow : first;
    bool seen = false;
    for (int64_t n = begin + threadIdx.x; n < end; n += kSumThreads) seen |= tokens_N[n] == tokens_N[first];
    if (__syncthreads_or(seen)) return true;
  }
  return false;
}

// Block (first, i) adds up columns i of the row of token `first`, if it is the first of its kind: it looks for the
// others behind it, in order. That reads the tokens many times, but from cache: N^2 / 32 looks of a warp at most.
template <int kLanes, class T>
__global__ void __launch_bounds__(kSumThreads)
    embedding_backward_kernel(float* dtable_VC, const T* dy_NC, const int32_t* tokens_N, int64_t N, int64_t C) {
  const int64_t first = blockIdx.x;
  if (seen_before(tokens_N, first)) return;
  const int32_t token = tokens_N[first];
  const int64_t c = (int64_t{blockIdx.y} * kSumThreads + threadIdx.x) * kLanes;
  const bool has_columns = c < C;
  float* row = dtable_VC + token * C + c;
  Lanes<kLanes> sum = {};
  if (has_columns) sum = load<kLanes>(row);
  __shared__ uint32_t same[kWarps];  // a bit for each token of a window
  for (int64_t begin = first; begin < N; begin += kSumThreads) {
    const int64_t mine = begin + threadIdx.x;
    const uint32_t of_warp = __ballot_sync(0xffffffffu, mine < N && tokens_N[mine] == token);
    __syncthreads();  // the bits of the last window have been read
    if (threadIdx.x % kWarp == 0) same[threadIdx.x / kWarp] = of_warp;
    __syncthreads();
    if (!has_columns) continue;
    for (int warp = 0; warp < kWarps; ++warp)
      for (uint32_t left = same[warp]; left != 0; left &= left - 1) {
        const int64_t n = begin + warp * kWarp + __ffs(static_cast<int>(left)) - 1;
        const Lanes<kLanes> dy = load<kLanes>(dy_NC + n * C + c);
#pragma unroll
        for (int k = 0; k < kLanes; ++k) sum[k] += dy[k];
      }
  }
  if (has_columns) store(row, sum);
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
DeviceError embedding_backward(float* dtable, const T* dy, const int32_t* tokens, int64_t N, int64_t C,
                               DeviceStream stream) {
  if (N == 0 || C == 0) return cudaSuccess;
  constexpr int kLanes = kLanesOf<T>;
  const bool words = in_words<kLanes>(C, dy) && in_words<kLanes>(C, dtable);
  const dim3 blocks(static_cast<unsigned>(N), static_cast<unsigned>(ceil_div(C, kSumThreads * (words ? kLanes : 1))));
  const auto kernel = words ? embedding_backward_kernel<kLanes, T> : embedding_backward_kernel<1, T>;
  kernel<<<blocks, kSumThreads, 0, stream_of(stream)>>>(dtable, dy, tokens, N, C);
  return launched();
}

template DeviceError embedding_forward(float*, const float*, const int32_t*, int64_t, int64_t, DeviceStream);
template DeviceError embedding_forward(Bf16*, const Bf16*, const int32_t*, int64_t, int64_t, DeviceStream);
template DeviceError embedding_backward(float*, const float*, const int32_t*, int64_t, int64_t, DeviceStream);
template DeviceError embedding_backward(float*, const Bf16*, const int32_t*, int64_t, int64_t, DeviceStream);

}  // namespace annulus::cuda
