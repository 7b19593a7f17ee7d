// Sums of whole buffers, and the row products that the attention backward starts from.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/exp2.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr int64_t kFloatsPerItem = int64_t{1} << 14;

int64_t items(int64_t n) { return (n + kFloatsPerItem - 1) / kFloatsPerItem; }

int64_t length(int64_t item, int64_t n) {
  const int64_t left = n - item * kFloatsPerItem;
  return left < kFloatsPerItem ? left : kFloatsPerItem;
}

}  // namespace

void add(float* sum, const float* a, const float* b, int64_t n) {
  parallel_for(items(n), [&](int64_t item, int) {
    const int64_t first = item * kFloatsPerItem;
    for_lanes(length(item, n), [&](int64_t i, int64_t count) ANNULUS_ALWAYS {
      const Simd::Reg x = Simd::load_first(a + first + i, count), y = Simd::load_first(b + first + i, count);
      Simd::store_first(sum + first + i, Simd::add(x, y), count);
    });
  });
}

void exp2_of(float* y, const float* x, int64_t n) {
  for_lanes(n, [&](int64_t i, int64_t count)
                   ANNULUS_ALWAYS { Simd::store_first(y + i, exp2(Simd::load_first(x + i, count)), count); });
}

// One thread and doubles over partial sums of 16384: the same bits for any number of threads.
double sum_of_squares(const float* x, int64_t n) {
  double total = 0.0;
  for (int64_t item = 0; item < items(n); ++item) {
    const float* part = x + item * kFloatsPerItem;
    total += static_cast<double>(sum_over(length(item, n), [&](int64_t i, int64_t count) ANNULUS_ALWAYS {
      const Simd::Reg v = Simd::load_first(part + i, count);
      return Simd::mul(v, v);
    }));
  }
  return total;
}

void attention_delta(float* delta_BHT, TokenRows out, TokenRows dout, int64_t B, int64_t T, int64_t H, int64_t D) {
  parallel_for(B * T, [&](int64_t item, int) {
    const int64_t b = item / T, t = item % T;
    for (int64_t h = 0; h < H; ++h) {
      const float *o = out.row(b, t, h), *d = dout.row(b, t, h);
      delta_BHT[(b * H + h) * T + t] = sum_over(D, [&](int64_t i, int64_t count) ANNULUS_ALWAYS {
        return Simd::mul(Simd::load_first(o + i, count), Simd::load_first(d + i, count));
      });
    }
  });
}

}  // namespace annulus::cpu::ANNULUS_ISA
