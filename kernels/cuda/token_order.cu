// A radix sort of token indices by token, from the lowest digit on: digits are counted tile by tile, the counts of all
// tiles become places, and each tile puts its indices there, keeping their order. Only sums of integers depend on who
// comes first, and those do not show it.
#include "kernels/cuda/token_order.h"

#include "kernels/cuda/launch.cuh"

namespace annulus::cuda {
namespace {

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
constexpr int64_t kTile = kDeviceTokensPerTile;  // of a block
constexpr int kWarps = kThreads / kWarp;
static_assert(kDigits == kThreads, "a thread to a digit");

// The index that is at `place` before this pass; null: none has gone before.
__device__ inline int32_t index_at(const int32_t* order_N, int64_t place) {
  return order_N ? order_N[place] : static_cast<int32_t>(place);
}

__device__ inline int digit_of(int32_t token, int shift) { return token >> shift & (kDigits - 1); }

// counts (kDigits, tiles)
__global__ void __launch_bounds__(kThreads)
    count_digits_kernel(int32_t* counts, const int32_t* order_N, const int32_t* tokens_N, int64_t N, int shift) {
  __shared__ int32_t of_tile[kDigits];
  of_tile[threadIdx.x] = 0;
  __syncthreads();
  const int64_t begin = blockIdx.x * kTile, end = begin + kTile < N ? begin + kTile : N;
  for (int64_t place = begin + threadIdx.x; place < end; place += kThreads)
    atomicAdd(&of_tile[digit_of(tokens_N[index_at(order_N, place)], shift)], 1);
  __syncthreads();
  counts[int64_t{threadIdx.x} * gridDim.x + blockIdx.x] = of_tile[threadIdx.x];
}

// Each count becomes the sum of those before it. One block; a thread takes a run of them.
__global__ void __launch_bounds__(kThreads) sum_before_kernel(int32_t* counts, int64_t n) {
  __shared__ int32_t of_thread[kThreads];
  const int64_t run = ceil_div(n, kThreads), begin = threadIdx.x * run, end = begin + run < n ? begin + run : n;
  int32_t sum = 0;
  for (int64_t i = begin; i < end; ++i) sum += counts[i];
  of_thread[threadIdx.x] = sum;
  __syncthreads();
  for (int step = 1; step < kThreads; step *= 2) {
    const int32_t before = threadIdx.x >= step ? of_thread[threadIdx.x - step] : 0;
    __syncthreads();
    of_thread[threadIdx.x] += before;
    __syncthreads();
  }
  sum = of_thread[threadIdx.x] - sum;
  for (int64_t i = begin; i < end; ++i) {
    const int32_t count = counts[i];
    counts[i] = sum;
    sum += count;
  }
}

// places: of each tile's first index of each digit. Of the last pass come the tokens in their order as well.
__global__ void __launch_bounds__(kThreads)
    place_kernel(int32_t* sorted_N, int32_t* sorted_tokens_N, const int32_t* places, const int32_t* order_N,
                 const int32_t* tokens_N, int64_t N, int shift) {
  __shared__ int32_t next[kDigits];             // place of each digit's next index
  __shared__ int32_t of_warp[kWarps][kDigits];  // indices of each digit in a round, then the place of the first
  next[threadIdx.x] = places[int64_t{threadIdx.x} * gridDim.x + blockIdx.x];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t begin = blockIdx.x * kTile, end = begin + kTile < N ? begin + kTile : N;
  for (int64_t round = begin; round < end; round += kThreads) {
    for (int w = 0; w < kWarps; ++w) of_warp[w][threadIdx.x] = 0;
    __syncthreads();
    const bool mine = round + threadIdx.x < end;
    const int32_t index = mine ? index_at(order_N, round + threadIdx.x) : 0;
    const int32_t token = mine ? tokens_N[index] : 0;
    const int digit = digit_of(token, shift);
    uint32_t alike = __ballot_sync(0xffffffffu, mine);  // lanes that have this digit
#pragma unroll
    for (int bit = 0; bit < kDigitBits; ++bit) {
      const bool set = digit >> bit & 1;
      const uint32_t with = __ballot_sync(0xffffffffu, set);
      alike &= set ? with : ~with;
    }
    const int rank = __popc(alike & ((1u << lane) - 1));
    if (mine && rank == 0) of_warp[warp][digit] = __popc(alike);
    __syncthreads();
    int32_t place = next[threadIdx.x];
    for (int w = 0; w < kWarps; ++w) {
      const int32_t count = of_warp[w][threadIdx.x];
      of_warp[w][threadIdx.x] = place;
      place += count;
    }
    next[threadIdx.x] = place;
    __syncthreads();
    if (mine) {
      const int32_t sorted = of_warp[warp][digit] + rank;
      sorted_N[sorted] = index;
      if (sorted_tokens_N) sorted_tokens_N[sorted] = token;
    }
    __syncthreads();
  }
}

}  // namespace

DeviceError order_tokens(TokenOrder* order, const int32_t* tokens, int64_t N, int64_t V, int32_t* scratch,
                         DeviceStream stream) {
  const auto tiles = static_cast<unsigned>(ceil_div(N, kTile));
  int32_t *to = scratch, *spare = scratch + N, *const sorted_tokens = scratch + 2 * N, *const counts = scratch + 3 * N;
  const int32_t* from = nullptr;
  for (int shift = 0; from == nullptr || (V - 1) >> shift != 0; shift += kDigitBits) {
    const bool last = (V - 1) >> (shift + kDigitBits) == 0;
    count_digits_kernel<<<tiles, kThreads, 0, stream_of(stream)>>>(counts, from, tokens, N, shift);
    if (const DeviceError error = launched()) return error;
    sum_before_kernel<<<1, kThreads, 0, stream_of(stream)>>>(counts, int64_t{tiles} * kDigits);
    if (const DeviceError error = launched()) return error;
    place_kernel<<<tiles, kThreads, 0, stream_of(stream)>>>(to, last ? sorted_tokens : nullptr, counts, from, tokens, N,
                                                            shift);
    if (const DeviceError error = launched()) return error;
    from = to;
    std::swap(to, spare);
  }
  *order = {.indices_N = from, .tokens_N = sorted_tokens};
  return cudaSuccess;
}

}  // namespace annulus::cuda
