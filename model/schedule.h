#pragma once
// A schedule is data: for one rank, which blocks it visits in which order, what each visit computes, and which messages
// run under it. It is a pure function of placements and mask, made once per batch and used by every layer; one loop
// (model/ring_attention) executes it.
#include <cstdint>
#include <vector>

#include "comm/hop.h"
#include "kernels/attention_tiles.h"
#include "model/placement.h"
#include "runtime/core/dtype.h"

namespace annulus {

/// B sequences, H query heads, K key/value heads, widths of queries/keys and of values; what keys and values travel in
/// (their gradients travel in f32).
struct RingHeads {
  int64_t B, H, K, Dqk, Dv;
  Dtype dtype = Dtype::kF32;

  int64_t kv_elements(int64_t num_keys) const { return B * num_keys * K * (Dqk + Dv); }
};

struct Schedule {
  int rank = 0;
  RingHeads heads = {};
  std::vector<int64_t> num_keys;      // tokens of each rank's block
  int64_t num_queries = 0;            // tokens of this rank
  std::vector<AttentionTiles> tiles;  // by owner of the visited block; first and last follow the forward order
  PassPlan forward, backward;
  int64_t visible_pairs = 0;  // of the whole mask, all ranks together, one sequence and head

  AttentionDims dims(int block) const {
    return {heads.B, num_queries, num_keys[static_cast<size_t>(block)], heads.H, heads.K, heads.Dqk, heads.Dv};
  }
};

/// The flat ring (arXiv:2310.01889). Forward visits own, r-1, ..., r+1, with P-1 hops of keys and values, each under
/// the visit before it. Backward visits r+1, r+2, ..., r-1, own last; gradients travel one visit behind: what a rank
/// has summed up to a visit leaves while the next visit computes, and the last hop runs under the own block. `queries`
/// and `keys` have the same number of ranks and equal strides; `rows_per_block` is what the kernel takes
/// (attention_query_block()).
Schedule make_flat_ring(const Placement& queries, const Placement& keys, const Mask& mask, const RingHeads& heads,
                        int rank, int64_t rows_per_block);

}  // namespace annulus
