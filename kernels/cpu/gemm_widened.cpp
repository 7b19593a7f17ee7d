// bf16 products where the instruction set has none: operands are widened to f32 tile by tile.
#include <algorithm>

#include "kernels/cpu/gemm.h"
#include "kernels/elementwise.h"

namespace annulus::cpu {
namespace {

// 5 MiB of scratch; widening a tile takes some 4 % of the time of its product.
constexpr int64_t kRows = 512, kColumns = 512, kDepth = 1024;

// The part of op(x) at (row, column), as it lies in x, widened.
TensorView widened(ConstTensorView x, bool transposed, int64_t row, int64_t rows, int64_t column, int64_t columns,
                   Arena& scratch) {
  const ConstTensorView part = x.narrow(transposed, row, rows).narrow(!transposed, column, columns);
  const TensorView tile = scratch.take(part.shape());
  convert(tile, part);
  return tile;
}

}  // namespace

void gemm_widened(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b,
                  bool accumulate, Arena& scratch) {
  const int64_t M = c.dim(0), N = c.dim(1), K = a.dim(!transpose_a);
  for (int64_t m = 0; m < M; m += kRows)
    for (int64_t n = 0; n < N; n += kColumns) {
      const Arena::Scope scope(scratch);
      const int64_t rows = std::min(kRows, M - m), columns = std::min(kColumns, N - n);
      const TensorView part = c.narrow(0, m, rows).narrow(1, n, columns);
      const bool rounds = c.dtype() == Dtype::kBf16;
      const TensorView sum = rounds ? scratch.take(part.shape()) : part;
      for (int64_t k = 0; k < K; k += kDepth) {
        const Arena::Scope operands(scratch);
        const int64_t depth = std::min(kDepth, K - k);
        const TensorView wide_a = widened(a, transpose_a, m, rows, k, depth, scratch);
        const TensorView wide_b = widened(b, transpose_b, k, depth, n, columns, scratch);
        gemm(sum, wide_a, transpose_a, wide_b, transpose_b, accumulate || k > 0, scratch);
      }
      if (rounds) convert(part, sum);
    }
}

}  // namespace annulus::cpu
