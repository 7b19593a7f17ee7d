// Rings over several nodes, played by threads that share memory only with those of their own node: the same bits as
// where all share it, whatever the nodes are like.
#include "comm/node_transport.h"

#include <gtest/gtest.h>

#include "tests/support/puppet.h"
#include "tests/support/ring_layers.h"
#include "tests/support/thread_wire.h"

namespace annulus::test {
namespace {

const std::vector<std::string> kPlacements = {"contiguous", "zigzag", "striped"};

// 1 + 3, 2 + 2, 3 + 2 + 1, alone, all together, every other rank, and out of order.
const std::vector<std::vector<int>> kShapes = {{0},
                                               {0, 1},
                                               {0, 0, 1},
                                               {0, 1, 0},
                                               {0, 1, 1, 1},
                                               {0, 0, 1, 1},
                                               {0, 1, 0, 1},
                                               {0, 1, 2, 3},
                                               {0, 0, 0, 0},
                                               {0, 0, 0, 1, 1},
                                               {1, 0, 0, 2, 1},
                                               {0, 0, 0, 1, 1, 2},
                                               {0, 1, 2, 0, 1, 2},
                                               {0, 0, 1, 0, 1, 1},
                                               {0, 1, 1, 2, 2, 2, 0},
                                               {0, 0, 1, 1, 2, 2, 3, 3},
                                               {0, 1, 0, 0, 1, 1, 0, 1}};

std::string text_of(const std::vector<int>& nodes) {
  std::string text = "nodes";
  for (const int node : nodes) text += concat(" ", node);
  return text;
}

TEST(NodeTransport, GivesTheBitsOfThreadsForEveryPlacementAndShape) {
  size_t turn = 0;
  for (const std::vector<int>& nodes : kShapes)
    for (const std::string& placement : kPlacements)
      for (const int64_t S : {3, 41}) {
        const std::vector<NamedMask> masks = masks_for(S);
        const NamedMask& m = masks[turn++ % masks.size()];
        const AttentionCase c = make_attention_case({2, S, S, 4, 2, 16, 8}, m.mask, 31);
        const int P = static_cast<int>(nodes.size());
        const std::string what = concat(m.name, " ", placement, " S ", S, " ", text_of(nodes));
        const MakeTransport on_nodes = threads_on_nodes(nodes);
        run_ranks(P, [&](Group& ring) {
          const RingRun together = run_ring(c, placement, "in-process", ring, 2);
          const RingRun apart = run_ring(c, placement, on_nodes, ring, 2);
          EXPECT_EQ(apart.counters.bytes_visited_forward, together.counters.bytes_visited_forward) << what;
          EXPECT_EQ(apart.counters.bytes_visited_backward, together.counters.bytes_visited_backward) << what;
          if (ring.rank() != 0) return;
          expect_exact(together.answer, c, what);
          expect_same_bits(apart.answer, together.answer, what);
        });
      }
}

// Layers of different lengths and masks, some with fewer tokens than ranks, and ranks that are late at random.
TEST(NodeTransport, DelaysChangeNoBitOverPassesOfDifferentSchedules) {
  uint64_t seed = 0;
  for (const std::vector<int>& nodes : kShapes) {
    ++seed;
    std::vector<AttentionCase> cases;
    for (const int64_t S : {45, 3, 20}) {
      const std::vector<NamedMask> masks = masks_for(S);
      const NamedMask& m = masks[(seed + static_cast<uint64_t>(S)) % masks.size()];
      cases.push_back(make_attention_case({1, S, S, 4, 2, 8, 16}, m.mask, 40 + static_cast<uint64_t>(S)));
    }
    const int P = static_cast<int>(nodes.size());
    const std::string placement = kPlacements[seed % 3];
    expect_same_bits(run_layers_on_threads(cases, placement, threads_on_nodes(nodes), seed, P),
                     run_layers_on_threads(cases, placement, transport_of("in-process"), 0, P),
                     concat(placement, " ", text_of(nodes), " seed ", seed));
  }
}

// No slot may be written while a late rank of the node, or a message, still needs it; blocks of nothing make no hop.
TEST(NodeTransport, ASlowRankSpoilsNoBuffer) {
  const std::vector<std::vector<int64_t>> counts = {{3}, {0, 0, 1, 0, 1}, {4, 1, 0, 5, 0}, {0}};
  for (const std::vector<int>& nodes : kShapes)
    for (size_t n = 0; n < counts.size(); ++n) {
      const int P = static_cast<int>(nodes.size()), slow = static_cast<int>(n * 3 + nodes.size()) % P;
      const MakeTransport make = threads_on_nodes(nodes);
      run_ranks(P, [&](Group& ring) {
        SCOPED_TRACE(concat(text_of(nodes), ", counts ", n, ", slow rank ", slow));
        expect_every_number(make, counts[n], slow, ring);
      });
    }
}

TEST(NodeTransport, CountsItsMemoryAndTheNodeHoldsTheSum) {
  const std::vector<TransportSizes> sizes(8, {8192, 8192, 8192});
  for (const std::vector<int>& shape : kShapes) {
    const NodeMap nodes(shape);
    for (int rank = 0; rank < nodes.num_ranks(); ++rank) {
      const std::vector<TransportSizes> all(sizes.begin(), sizes.begin() + nodes.num_ranks());
      int64_t sum = 0;
      for (const int r : nodes.ranks_beside(rank)) sum += node_transport_bytes(all[0], nodes, r);
      EXPECT_GT(Board::bytes(all, nodes, rank), sum);  // the signals
      EXPECT_LE(Board::bytes(all, nodes, rank), sum + 3 * 4096);
    }
  }
  // Four nodes of four in a row: two own blocks, three sums and perhaps one that arrives, and of five slots one or two.
  const NodeMap nodes({0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3});
  EXPECT_EQ(node_transport_bytes(sizes[0], nodes, 0), (2 + 3 + 2) * 8192);
  EXPECT_EQ(node_transport_bytes(sizes[0], nodes, 1), (2 + 3 + 1) * 8192);
  EXPECT_EQ(node_transport_bytes(sizes[0], nodes, 3), (2 + 3 + 1 + 1) * 8192);
}

}  // namespace
}  // namespace annulus::test
