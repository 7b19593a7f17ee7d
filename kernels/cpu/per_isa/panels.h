#pragma once
// What the attention kernels, forward and backward, share about panels of query blocks and tiles of keys.
#include <omp.h>

#include "kernels/attention_tiles.h"
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/packed_values.h"

namespace annulus::cpu::ANNULUS_ISA {

/// Whether the products take keys and values from the packed block itself.
template <class T>
constexpr bool kUsedInPlace = sizeof(T) == sizeof(float) || kPerWord<T> == 2;

/// Query blocks that share the keys and values which a thread reads.
constexpr int kMostBlocksPerPanel = 4;

/// As many as leave each thread a few panels. How blocks share panels changes no bit.
inline int64_t blocks_per_panel(int64_t num_blocks, int64_t heads, int64_t most) {
  const int64_t panels_wanted = 4 * int64_t{omp_get_max_threads()};
  const int64_t fair = num_blocks * heads / panels_wanted;
  return fair < 1 ? 1 : fair > most ? most : fair;
}

/// The keys of the tile [first, bound) that the query rows [row0, row1) see of one slice, begin and end moved outwards
/// to multiples of kKeysTogether: what is hidden there is in the masked runs.
inline KeyRuns runs_in_tile(const BandSlice& slice, int64_t row0, int64_t row1, int64_t first, int64_t bound) {
  KeyRuns runs = key_runs(slice, row0, row1);
  const auto clip = [&](int64_t key) { return key < first ? first : key > bound ? bound : key; };
  if (runs.begin == runs.end || runs.begin >= bound || runs.end <= first) return {first, first, first, first};
  const int64_t begin = runs.begin / kKeysTogether * kKeysTogether;
  const int64_t end = (runs.end + kKeysTogether - 1) / kKeysTogether * kKeysTogether;
  runs = {clip(begin), clip(runs.full_begin), clip(runs.full_end), clip(end)};
  if (runs.full_begin >= runs.full_end) runs.full_begin = runs.full_end = runs.end;
  return runs;
}

/// Makes [begin, end) contain the keys that the slices of `block` reach.
inline void widen_range(int64_t& begin, int64_t& end, const BandSlice* slices, const QueryBlock& block) {
  for (int64_t s = block.slice_begin; s < block.slice_end; ++s) {
    const KeyRuns runs = key_runs(slices[s], block.row0, block.row0 + block.rows);
    if (runs.begin == runs.end) continue;
    begin = runs.begin < begin ? runs.begin : begin;
    end = runs.end > end ? runs.end : end;
  }
}

template <class T>
[[gnu::always_inline]] inline void prefetch_words(const T* words, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) __builtin_prefetch(words + i, 0, 2);
}

/// dst = src, widened.
inline void widen_rows(float* dst, const Bf16* src, int64_t count) {
  for (int64_t i = 0; i < count; i += Simd::kLanes)
    Simd::store_first(dst + i, load_first(src + i, count - i), count - i);
}

/// Rows 2j and 2j + 1 as pairs, component by component; a last row without a partner gets one of zeros.
template <class W>
void pair_rows(W* dst, const Bf16* rows, int64_t count, int64_t width) {
  for (int64_t j = 0; j < count; j += 2)
    for (int64_t d = 0; d < width; ++d) {
      const uint32_t second = j + 1 < count ? rows[(j + 1) * width + d].bits : 0u;
      dst[j / 2 * width + d] = rows[j * width + d].bits | second << 16;
    }
}

/// A copy of an odd number of rows of values, the last with a partner of zeros.
template <class W>
const W* with_partner(W* dst, const Bf16* values, int64_t rows, int64_t width) {
  const auto* pairs = reinterpret_cast<const W*>(values);
  const int64_t whole = rows / 2 * width;
  for (int64_t i = 0; i < whole; ++i) dst[i] = pairs[i];
  for (int64_t d = 0; d < width; ++d) dst[whole + d] = values[2 * whole + d].bits;
  return dst;
}

}  // namespace annulus::cpu::ANNULUS_ISA
