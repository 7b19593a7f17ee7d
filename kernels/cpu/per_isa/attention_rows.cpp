// What attention does with rows before its products: packing values, and the row products that backward starts from.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/packed_values.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

template <class T>
void copy_row(T* to, const T* from, int64_t width) {
  for_lanes(width,
            [&](int64_t d, int64_t count) ANNULUS_ALWAYS { store_first(to + d, load_first(from + d, count), count); });
}

}  // namespace

template <class T>
void attention_delta(float* delta_BHT, TokenRows<T> out, TokenRows<T> dout, int64_t B, int64_t tokens, int64_t H,
                     int64_t D) {
  parallel_for(B * tokens, [&](int64_t item, int) {
    const int64_t b = item / tokens, t = item % tokens;
    for (int64_t h = 0; h < H; ++h) {
      const T *o = out.row(b, t, h), *d = dout.row(b, t, h);
      delta_BHT[(b * H + h) * tokens + t] = sum_over(D, [&](int64_t i, int64_t count) ANNULUS_ALWAYS {
        return Simd::mul(load_first(o + i, count), load_first(d + i, count));
      });
    }
  });
}

template void attention_delta(float*, TokenRows<float>, TokenRows<float>, int64_t, int64_t, int64_t, int64_t);
template void attention_delta(float*, TokenRows<Bf16>, TokenRows<Bf16>, int64_t, int64_t, int64_t, int64_t);

// The layout is that of the dtype, whatever the instruction set: ranks with different processors share blocks.
template <class T>
void pack_values(T* block, TokenRows<T> v, int64_t B, int64_t K, int64_t tokens, int64_t D) {
  constexpr int64_t kTogether = sizeof(T) == 2 ? 2 : 1;
  const int64_t steps = (tokens + kTogether - 1) / kTogether;
  parallel_for(B * K, [&](int64_t head, int) {
    const int64_t b = head / K, k = head % K;
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t t = step * kTogether;
      T* out = block + (head * tokens + t) * D;
      if constexpr (kTogether == 2) {
        if (t + 1 < tokens) {
          interleave(out, v.row(b, t, k), v.row(b, t + 1, k), D);
          continue;
        }
      }
      copy_row(out, v.row(b, t, k), D);
    }
  });
}

template void pack_values(float*, TokenRows<float>, int64_t, int64_t, int64_t, int64_t);
template void pack_values(Bf16*, TokenRows<Bf16>, int64_t, int64_t, int64_t, int64_t);

}  // namespace annulus::cpu::ANNULUS_ISA
