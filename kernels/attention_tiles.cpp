#include "kernels/attention_tiles.h"

#include <algorithm>

namespace annulus {
namespace {

// All that `mask` lets one query segment see of the visited rank's keys, in row numbers.
std::vector<BandSlice> slices_of_segment(const Segment& queries, int64_t query_row, const std::vector<Segment>& keys,
                                         const Mask& mask) {
  std::vector<BandSlice> found;
  int64_t key_row = 0;
  for (const Segment& key_segment : keys) {
    for (const BandSlice& slice : mask) {
      const BandSlice rows = clip_to_rows(slice, queries, query_row, key_segment, key_row);
      if (rows.q0 < rows.q1) found.push_back(rows);
    }
    key_row += key_segment.count;
  }
  return found;
}

}  // namespace

AttentionTiles make_attention_tiles(const std::vector<Segment>& queries, const std::vector<Segment>& keys,
                                    const Mask& mask, int64_t rows_per_block) {
  AttentionTiles tiles;
  int64_t query_row = 0;
  for (const Segment& segment : queries) {
    const std::vector<BandSlice> slices = slices_of_segment(segment, query_row, keys, mask);
    tiles.pairs += visible_pairs(slices);
    for (int64_t row = 0; row < segment.count; row += rows_per_block) {
      QueryBlock block = {};
      block.row0 = query_row + row;
      block.rows = static_cast<int32_t>(std::min(rows_per_block, segment.count - row));
      block.slice_begin = static_cast<int64_t>(tiles.slices.size());
      for (const BandSlice& slice : slices)
        if (slice.q0 < block.row0 + block.rows && block.row0 < slice.q1) tiles.slices.push_back(slice);
      block.slice_end = static_cast<int64_t>(tiles.slices.size());
      tiles.blocks.push_back(block);
    }
    query_row += segment.count;
  }
  return tiles;
}

KeyRuns key_runs(const BandSlice& s, int64_t row0, int64_t row1) {
  const int64_t first = std::max(row0, s.q0), last = std::min(row1, s.q1) - 1;
  const int64_t begin = std::max(s.k0, first - s.hi), end = std::min(s.k1, last - s.lo + 1);
  if (first > last || begin >= end) return {begin, begin, begin, begin};
  if (first != row0 || last != row1 - 1) return {begin, begin, begin, end};
  const int64_t full_begin = (std::max(begin, last - s.hi) + kKeysTogether - 1) / kKeysTogether * kKeysTogether;
  const int64_t full_end = std::min(end, first - s.lo + 1) / kKeysTogether * kKeysTogether;
  if (full_begin >= full_end) return {begin, begin, begin, end};
  return {begin, full_begin, full_end, end};
}

}  // namespace annulus
