#pragma once
// What one visit of the ring asks of the attention kernels: plain data, made once per batch and used by every layer.
#include <cstdint>
#include <vector>

#include "kernels/mask.h"

namespace annulus {

/// B sequences, Tq query tokens and Tk key tokens on the two ranks concerned, H query heads, K key/value heads (K
/// divides H), head widths Dqk of queries and keys and Dv of values (multiples of 8 up to 256).
struct AttentionDims {
  int64_t B, Tq, Tk, H, K, Dqk, Dv;
};

/// Consecutive query rows of one segment, and the slices (in row numbers) of this visit that touch them.
struct QueryBlock {
  int64_t row0;
  int32_t rows;
  bool first, last;  // forward: this visit starts, ends the online softmax of these rows
  int64_t slice_begin, slice_end;
};

struct AttentionTiles {
  std::vector<QueryBlock> blocks;  // the same rows, in the same order, in every visit of a pass
  std::vector<BandSlice> slices;   // row numbers of this rank's queries and of the visited block's keys
  int64_t pairs = 0;               // (query, key) pairs that see each other

  bool empty() const { return slices.empty(); }
};

/// Cuts `queries` (this rank's segments) into blocks and hands each the parts of `mask` that it shares with `keys` (the
/// visited rank's segments). All `first` and `last` are false.
AttentionTiles make_attention_tiles(const std::vector<Segment>& queries, const std::vector<Segment>& keys,
                                    const Mask& mask, int64_t rows_per_block);

/// Keys that the attention kernels take together, where a mask does not cut them.
constexpr int64_t kKeysTogether = 8;

/// The keys that the query rows [row0, row1) see of one slice: [begin, end), of which every row sees [full_begin,
/// full_end): multiples of kKeysTogether, so that the kernels can leave what is cut to the runs that are masked anyway.
/// All four are equal where nothing is seen; full_begin == full_end == begin where no such keys are seen by all.
struct KeyRuns {
  int64_t begin, full_begin, full_end, end;
};

KeyRuns key_runs(const BandSlice& slice, int64_t row0, int64_t row1);

}  // namespace annulus
