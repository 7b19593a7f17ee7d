#pragma once
// How keys and values of one head lie in a packed block (kernels/attention.h), and how the kernels get at them. Keys
// are rows. Values of bfloat16 lie in pairs of rows, row 2j and row 2j + 1 component by component, since the product
// with the weights sums over keys; a last row without a partner is a row.
#include "kernels/cpu/per_isa/operands.h"

namespace annulus::cpu::ANNULUS_ISA {

/// dst[2d], dst[2d + 1] = first[d], second[d].
inline void interleave(Bf16* dst, const Bf16* first, const Bf16* second, int64_t width) {
  for (int64_t d = 0; d < width; ++d) {
    dst[2 * d] = first[d];
    dst[2 * d + 1] = second[d];
  }
}

[[gnu::always_inline]] inline void assign(Bf16& to, Bf16 from) { to = from; }
[[gnu::always_inline]] inline void assign(float& to, Bf16 from) { to = from.to_float(); }

/// The opposite of interleave(), to bfloat16 or float.
template <class To>
void split(To* first, To* second, const Bf16* pairs, int64_t width) {
  for (int64_t d = 0; d < width; ++d) {
    assign(first[d], pairs[2 * d]);
    assign(second[d], pairs[2 * d + 1]);
  }
}

/// The rows [begin, end) of values, one behind the other in dst; begin is even. num_keys: of the whole head.
template <class To>
void split_values(To* dst, const Bf16* values, int64_t begin, int64_t end, int64_t num_keys, int64_t width) {
  for (int64_t j = begin; j < end; ++j) {
    To* row = dst + (j - begin) * width;
    const bool has_partner = (j | 1) < num_keys;
    if (!has_partner) {
      for (int64_t d = 0; d < width; ++d) assign(row[d], values[j * width + d]);
    } else if (j % 2 == 0) {
      // The second row is written behind the first, also where it is `end`: the caller has room for a pair.
      split(row, row + width, values + j * width, width);
      ++j;
    }
  }
}

}  // namespace annulus::cpu::ANNULUS_ISA
