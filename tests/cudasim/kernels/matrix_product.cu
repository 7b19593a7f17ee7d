// C = A B^T in bf16 with f32 sums, the way the tensor core kernels of the product are built: cp.async into two stages,
// ldmatrix, mma.sync. A is M x K, B is N x K, row-major; a block of 4 warps makes 64 x 64 of C; K a multiple of 32.

#include <cstdint>

#include "tests/cudasim/kernels/tensor_core.cuh"

namespace {

constexpr int kTile = 64, kDepth = 32, kThreads = 128;

// 16-byte chunks of a row of 32 numbers, swapped so that the eight rows that ldmatrix reads lie in different banks.
__device__ int place(int row, int chunk) { return row * kDepth + ((chunk ^ (row >> 1 & 3)) * 8); }

__device__ void load_tile(__nv_bfloat16* tile, const __nv_bfloat16* from, int first_row, int column, int k) {
  for (int i = threadIdx.x; i < kTile * kDepth / 8; i += kThreads) {
    const int row = i / 4, chunk = i % 4;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(tile + place(row, chunk))),
                 "l"(from + static_cast<int64_t>(first_row + row) * k + column + chunk * 8));
  }
}

// kWait: how many groups may still be on their way when a stage is read; 1 is right.
template <int kWait, bool kLastBarrier>
__device__ void product(float* c, const __nv_bfloat16* a, const __nv_bfloat16* b, int n, int k) {
  __shared__ alignas(128) __nv_bfloat16 tiles_a[2][kTile * kDepth], tiles_b[2][kTile * kDepth];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row0 = blockIdx.y * kTile, column0 = blockIdx.x * kTile;
  float sum[8][4] = {};
  load_tile(tiles_a[0], a, row0, 0, k);
  load_tile(tiles_b[0], b, column0, 0, k);
  asm volatile("cp.async.commit_group;");
  for (int step = 0; step < k / kDepth; ++step) {
    if ((step + 1) * kDepth < k) {
      load_tile(tiles_a[(step + 1) % 2], a, row0, (step + 1) * kDepth, k);
      load_tile(tiles_b[(step + 1) % 2], b, column0, (step + 1) * kDepth, k);
    }
    asm volatile("cp.async.commit_group;");
    asm volatile("cp.async.wait_group %0;" ::"n"(kWait));
    __syncthreads();
    const __nv_bfloat16 *ta = tiles_a[step % 2], *tb = tiles_b[step % 2];
    for (int kk = 0; kk < kDepth / 16; ++kk) {
      uint32_t fa[4], fb[4];
      load_matrices(fa, ta + place(warp * 16 + lane % 16, kk * 2 + lane / 16));
      for (int j = 0; j < 8; j += 2) {
        load_matrices(fb, tb + place(j * 8 + lane % 8 + lane / 16 * 8, kk * 2 + lane / 8 % 2));
        multiply(sum[j], fa, fb[0], fb[1]);
        multiply(sum[j + 1], fa, fb[2], fb[3]);
      }
    }
    if (kLastBarrier) __syncthreads();
  }
  asm volatile("cp.async.wait_group 0;");
  for (int j = 0; j < 8; ++j)
    for (int half = 0; half < 2; ++half) {
      const int row = row0 + warp * 16 + lane / 4 + half * 8, column = column0 + j * 8 + lane % 4 * 2;
      *reinterpret_cast<float2*>(&c[static_cast<int64_t>(row) * n + column]) = {sum[j][2 * half], sum[j][2 * half + 1]};
    }
}

}  // namespace

#define PRODUCT(name, wait, last_barrier)                                            \
  extern "C" __global__ void __launch_bounds__(kThreads)                             \
      name(float* c, const __nv_bfloat16* a, const __nv_bfloat16* b, int n, int k) { \
    product<wait, last_barrier>(c, a, b, n, k);                                      \
  }
PRODUCT(matrix_product, 1, true)
PRODUCT(matrix_product_weak_wait, 2, true)
PRODUCT(matrix_product_early_refill, 1, false)
