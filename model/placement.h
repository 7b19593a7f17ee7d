#pragma once
// Which tokens a rank holds: for each rank a list of segments in global positions. Any number of tokens goes on any
// number of ranks; segments may differ in length, and ranks may hold nothing.
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/mask.h"

namespace annulus {

class Placement {
 public:
  explicit Placement(std::vector<std::vector<Segment>> segments_of_rank);

  int num_ranks() const { return static_cast<int>(segments_.size()); }
  const std::vector<Segment>& segments(int rank) const { return segments_[static_cast<size_t>(rank)]; }
  int64_t num_tokens(int rank) const;
  int64_t num_tokens() const;
  int64_t largest() const;  // tokens of the rank that holds most

  /// The global position of each local token of `rank`, in local order.
  std::vector<int64_t> positions(int rank) const;

  bool operator==(const Placement&) const = default;

 private:
  std::vector<std::vector<Segment>> segments_;
};

/// Rank r holds chunk r of P; chunk c of n is [floor(c S / n), floor((c + 1) S / n)).
Placement contiguous_placement(int64_t num_tokens, int num_ranks);

/// Rank r holds chunks r and 2P-1-r of 2P: under a causal mask every rank has equal work at every step of the ring.
Placement zigzag_placement(int64_t num_tokens, int num_ranks);

/// Rank r holds tokens r, r + P, r + 2P, ...
Placement striped_placement(int64_t num_tokens, int num_ranks);

/// "contiguous", "zigzag" or "striped"; throws UserError (64) naming the three otherwise.
Placement make_placement(std::string_view kind, int64_t num_tokens, int num_ranks);

}  // namespace annulus
