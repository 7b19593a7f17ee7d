#pragma once
// Which ranks of a ring share memory, and what follows for the flat ring (model/schedule): which blocks are messages,
// who receives them, and where they lie. Pure functions of the map: no rank asks another one.
//
// A block visits the ranks of the ring one after the other, forward to the next rank, backward to the previous one. It
// enters a node with the first rank of it that it comes to: that one receives it into a landing slot, and all ranks of
// the node read it there. So a block crosses to each other node once. Slots are taken in the order of the visits.
#include <cstdint>
#include <string>
#include <vector>

namespace annulus {

class NodeMap {
 public:
  /// Ranks with equal numbers share memory; any numbers, in any order.
  explicit NodeMap(const std::vector<int>& node_of_rank);

  int num_ranks() const { return static_cast<int>(node_of_.size()); }
  int num_nodes() const { return static_cast<int>(ranks_of_.size()); }
  bool together(int a, int b) const { return node_of_[static_cast<size_t>(a)] == node_of_[static_cast<size_t>(b)]; }
  /// The ranks of the node of `rank`, itself among them, in ascending order.
  const std::vector<int>& ranks_beside(int rank) const {
    return ranks_of_[static_cast<size_t>(node_of_[static_cast<size_t>(rank)])];
  }

  /// All ranks, those of a node behind each other: the nodes in the order of their lowest ranks.
  std::vector<int> ranks_by_node() const;

  /// Whether a block of another node comes to `rank` before it comes to any other rank of that rank's node.
  bool enters(int block, int rank, bool backward) const;
  /// How many blocks do in one pass: in the order of the visits the next ranks before (backward: behind) `rank`.
  int num_entering(int rank, bool backward) const;
  /// Number n of them.
  int entering(int n, int rank, bool backward) const;

  struct Landing {
    int receiver;  // the rank of the node that the block enters with
    int slot;      // of the node's landing slots
    int earlier;   // blocks of the same pass that were in the slot before
  };
  /// Where a block of another node lies on the node of `rank`.
  Landing landing(int block, int rank, bool backward) const;
  /// Slots that the node of `rank` needs: no block has to wait for one as long as the ranks go in step. n consecutive
  /// ranks need n + 1 at most, whatever the size of the ring; a node whose ranks are far from each other in the ring
  /// needs more, since a block stays until the last of them has seen it.
  int landing_slots(int rank) const;
  /// Of these, those that count as memory of `rank`: the node's ranks share them out.
  int landing_slots_of(int rank) const;

  /// "2 nodes of 4 ranks", "3 nodes of 1 to 3 ranks"
  std::string text() const;

 private:
  int gap(int rank, bool backward) const;
  int slots_of_receiver(int rank, bool backward) const;

  std::vector<int> node_of_;
  std::vector<std::vector<int>> ranks_of_;
  std::vector<int> behind_,
      ahead_;  // steps to the previous and the next rank of the same node; P for one that is alone
};

}  // namespace annulus
