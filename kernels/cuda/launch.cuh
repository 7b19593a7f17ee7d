#pragma once
// Which thread does what: pieces of kLanes elements of rows, dealt out over a grid; and what launchers share.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/device_ops.h"

namespace annulus::cuda {

constexpr int kWarp = 32;
constexpr int kThreads = 256;  // of a block

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline cudaStream_t stream_of(DeviceStream stream) { return static_cast<cudaStream_t>(stream); }

/// What a launch has to say, which is not whether the kernel worked.
inline DeviceError launched() { return cudaGetLastError(); }

/// Whether kLanes elements of each tensor can be read as words, in every row: rows are `row` elements apart.
template <int kLanes, class... T>
bool in_words(int64_t row, const T*... tensors) {
  const auto fits = [&](const void* p, int64_t size) {
    const int64_t word = std::min<int64_t>(16, kLanes * size);
    return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(word) == 0 && row * size % word == 0;
  };
  return (fits(tensors, sizeof(T)) && ...);
}

struct Grid {
  dim3 blocks, threads;
};

/// For for_all_pieces(): threads go along a row, several rows in a block where they are short.
inline Grid grid_over(int64_t rows, int64_t pieces, int64_t layers = 1) {
  unsigned along = kWarp;
  while (along < kThreads && along < pieces) along *= 2;
  const unsigned across = kThreads / along;
  const auto blocks = [](int64_t work, int64_t per_block, int64_t most) {
    return static_cast<unsigned>(std::min(ceil_div(work, per_block), most));
  };
  return {dim3(blocks(pieces, along, std::numeric_limits<int>::max()), blocks(rows, across, 65535),
               static_cast<unsigned>(layers)),
          dim3(along, across)};
}

/// body(row, piece) for all of them, each in one thread of the grid.
template <class Body>
__device__ inline void for_all_pieces(int64_t rows, int64_t pieces, Body body) {
  for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += int64_t{gridDim.y} * blockDim.y)
    for (int64_t piece = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; piece < pieces;
         piece += int64_t{gridDim.x} * blockDim.x)
      body(row, piece);
}

}  // namespace annulus::cuda
