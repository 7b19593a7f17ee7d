#pragma once
// Packed documents: one row of several documents, none of which sees another, placed so that every rank has nearly the
// same work.
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/mask.h"
#include "model/placement.h"

namespace annulus {

/// What a token costs in linear layers, and what a pair that sees each other costs in attention, in the same unit.
struct PackingCosts {
  double token, pair;
};

struct PackedRow {
  std::vector<int64_t> begin;  // where each document begins in the row
  Placement placement;
  Mask mask;  // causal inside each document
};

/// "zigzag": each document of at least 2P x 128 tokens is cut in zigzag by itself; a shorter one goes whole to the rank
/// with the least work (longest first; ties to the lowest rank) as long as that holds at most most_tokens_of_a_rank().
/// It is cut after all where no rank has room for it, or where too few are short to share them out evenly. Documents
/// lie in the row so that what a rank holds whole lies together. "contiguous" and "striped" cut the row as it is,
/// documents in their order.
PackedRow pack_documents(const std::vector<int64_t>& lengths, std::string_view placement, int num_ranks,
                         const PackingCosts& costs);

/// 1.05 S / P + 128: what a rank holds of S packed tokens is never more.
int64_t most_tokens_of_a_rank(int64_t num_tokens, int num_ranks);

/// A placement that takes as many query blocks of `rows_per_block` on every rank as any packed row of `num_tokens` can:
/// what memory must be sized for. Its positions are not those of any row.
Placement largest_packed_placement(int64_t num_tokens, int num_ranks, int64_t rows_per_block);

}  // namespace annulus
