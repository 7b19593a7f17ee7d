#pragma once
// What ranks that share memory share of it: for each of them signals, two packed blocks and three sums of gradients,
// and for all of them the slots in which blocks of other nodes land. Nobody writes what belongs to another rank.
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/node_map.h"
#include "comm/transport.h"
#include "comm/wait.h"

namespace annulus {

constexpr int kBlockSlots = 2;  // of which a rank that is alone uses only the first

/// The memory of all ranks of a node, mapped by each of them. Zero when made.
class BoardMemory {
 public:
  virtual ~BoardMemory() = default;
  virtual std::byte* data() = 0;
};

class Board {
 public:
  /// For the node of `rank`; sizes[r] are those of rank r of the ring. `memory` holds bytes() of the same arguments.
  Board(std::unique_ptr<BoardMemory> memory, const std::vector<TransportSizes>& sizes, const NodeMap& nodes, int rank);

  static int64_t bytes(const std::vector<TransportSizes>& sizes, const NodeMap& nodes, int rank);
  /// Of these, what counts as memory of `rank`; signals do not.
  static int64_t bytes_of_rank(const TransportSizes& sizes, const NodeMap& nodes, int rank);

  // Each signal lies on a cache line of its own.
  struct alignas(64) Line {
    Signal signal;
  };
  struct RankSignals {
    std::array<Line, kBlockSlots> published, done;  // the number of the pass; readers that are through, over all passes
    Line handed, taken;                             // gradient sums finished by this rank; read by the next
  };
  struct LandingSignals {
    Line filled, done;  // how often a block has landed in the slot; readers that are through, over all of them
  };

  // Of ranks of this node.
  RankSignals& signals(int rank);
  std::byte* block(int rank, int slot);
  std::byte* gradient(int rank, int slot);
  /// Where a sum of gradients of another node arrives, on a rank that gets its sums from there.
  std::byte* gradient_landing(int rank);

  LandingSignals& landing_signals(int slot);
  std::byte* landing(int slot);

 private:
  // Where everything lies.
  struct Layout {
    Layout(const std::vector<TransportSizes>& sizes, const NodeMap& nodes, int rank);
    std::vector<int64_t> signals, blocks, block_slot, gradients, gradient_slot, gradient_landings;  // by rank
    int64_t landing_signals = 0, landings = 0, landing_slot = 0;
    int64_t total = 0;
  };

  std::unique_ptr<BoardMemory> memory_;
  Layout layout_;
};

}  // namespace annulus
