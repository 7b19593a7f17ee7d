// Sums and conversions of whole buffers.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/operands.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr int64_t kFloatsPerItem = int64_t{1} << 14;

int64_t items(int64_t n) { return (n + kFloatsPerItem - 1) / kFloatsPerItem; }

int64_t length(int64_t item, int64_t n) {
  const int64_t left = n - item * kFloatsPerItem;
  return left < kFloatsPerItem ? left : kFloatsPerItem;
}

// body(i, count) for the registers of n elements, all threads.
template <class Body>
[[gnu::always_inline]] inline void for_all_lanes(int64_t n, Body body) {
  parallel_for(items(n), [&](int64_t item, int) {
    const int64_t first = item * kFloatsPerItem;
    for_lanes(length(item, n), [&](int64_t i, int64_t count) ANNULUS_ALWAYS { body(first + i, count); });
  });
}

}  // namespace

template <class T>
void add(T* sum, const T* a, const T* b, int64_t n) {
  for_all_lanes(n, [=](int64_t i, int64_t count) ANNULUS_ALWAYS {
    store_first(sum + i, Simd::add(load_first(a + i, count), load_first(b + i, count)), count);
  });
}

template void add(float*, const float*, const float*, int64_t);
template void add(Bf16*, const Bf16*, const Bf16*, int64_t);

// Long rows are cut, short ones taken together, so that an item is a fair piece of work.
template <class To, class From>
void convert(To* y, int64_t y_row, const From* x, int64_t x_row, int64_t rows, int64_t columns) {
  const int64_t pieces = items(columns), rows_per_item = kFloatsPerItem / columns + 1;
  parallel_for_chunks(rows * pieces, rows_per_item, [&](int64_t i) {
    const int64_t row = i / pieces, piece = i % pieces;
    To* to = y + row * y_row + piece * kFloatsPerItem;
    const From* from = x + row * x_row + piece * kFloatsPerItem;
    for_lanes(length(piece, columns), [&](int64_t c, int64_t count)
                                          ANNULUS_ALWAYS { store_first(to + c, load_first(from + c, count), count); });
  });
}

template void convert(float*, int64_t, const float*, int64_t, int64_t, int64_t);
template void convert(float*, int64_t, const Bf16*, int64_t, int64_t, int64_t);
template void convert(Bf16*, int64_t, const float*, int64_t, int64_t, int64_t);
template void convert(Bf16*, int64_t, const Bf16*, int64_t, int64_t, int64_t);

void exp2_of(float* y, const float* x, int64_t n) {
  for_lanes(n, [&](int64_t i, int64_t count)
                   ANNULUS_ALWAYS { Simd::store_first(y + i, exp2(Simd::load_first(x + i, count)), count); });
}

void exp2_bf16_of(float* y, const float* x, int64_t n) {
  for_lanes(n, [&](int64_t i, int64_t count) ANNULUS_ALWAYS {
    Simd::store_first(y + i, Operands<Bf16>::power_of_two(Simd::load_first(x + i, count)), count);
  });
}

// Doubles over partial sums of 16384, added in order: the same bits for any number of threads.
double sum_of_squares(const float* x, int64_t n) {
  constexpr int64_t kPartialSums = 512;
  double total = 0.0, partial[kPartialSums];
  for (int64_t first = 0; first < items(n); first += kPartialSums) {
    const int64_t count = items(n) - first < kPartialSums ? items(n) - first : kPartialSums;
    parallel_for(count, [&](int64_t i, int) {
      const float* part = x + (first + i) * kFloatsPerItem;
      partial[i] = static_cast<double>(sum_over(length(first + i, n), [&](int64_t at, int64_t lanes) ANNULUS_ALWAYS {
        const Simd::Reg v = Simd::load_first(part + at, lanes);
        return Simd::mul(v, v);
      }));
    });
    for (int64_t i = 0; i < count; ++i) total += partial[i];
  }
  return total;
}

}  // namespace annulus::cpu::ANNULUS_ISA
