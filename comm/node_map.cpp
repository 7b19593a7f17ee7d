#include "comm/node_map.h"

#include <algorithm>

#include "runtime/core/error.h"

namespace annulus {

NodeMap::NodeMap(const std::vector<int>& node_of_rank) {
  const int P = static_cast<int>(node_of_rank.size());
  std::vector<int> numbers;  // by node, in the order of their lowest ranks
  for (const int number : node_of_rank) {
    const auto known = std::find(numbers.begin(), numbers.end(), number);
    node_of_.push_back(static_cast<int>(known - numbers.begin()));
    if (known == numbers.end()) numbers.push_back(number);
  }
  ranks_of_.resize(numbers.size());
  for (int rank = 0; rank < P; ++rank)
    ranks_of_[static_cast<size_t>(node_of_[static_cast<size_t>(rank)])].push_back(rank);
  for (int rank = 0; rank < P; ++rank) {
    int behind = 1, ahead = 1;
    while (!together(rank, (rank + P - behind) % P)) ++behind;
    while (!together(rank, (rank + ahead) % P)) ++ahead;
    behind_.push_back(behind);
    ahead_.push_back(ahead);
  }
}

std::vector<int> NodeMap::ranks_by_node() const {
  std::vector<int> all;
  for (const std::vector<int>& ranks : ranks_of_) all.insert(all.end(), ranks.begin(), ranks.end());
  return all;
}

int NodeMap::gap(int rank, bool backward) const { return (backward ? ahead_ : behind_)[static_cast<size_t>(rank)] - 1; }

bool NodeMap::enters(int block, int rank, bool backward) const {
  const int P = num_ranks(), steps = (backward ? block - rank + P : rank - block + P) % P;
  return steps > 0 && steps <= gap(rank, backward);
}

int NodeMap::num_entering(int rank, bool backward) const { return gap(rank, backward); }

int NodeMap::entering(int n, int rank, bool backward) const {
  const int P = num_ranks();
  return (backward ? rank + 1 + n : rank - 1 - n + P) % P;
}

// A receiver's blocks come one a visit. Number n is needed at its visit n (backward; forward one later), arrives under
// the visit before, and is read for the last time P - 1 - entering visits after it came: by then P + 1 - entering
// others have begun to arrive, itself counted.
int NodeMap::slots_of_receiver(int rank, bool backward) const {
  const int entering = num_entering(rank, backward);
  return std::min(entering, num_ranks() + 1 - entering);
}

NodeMap::Landing NodeMap::landing(int block, int rank, bool backward) const {
  int first_slot = 0;
  for (const int receiver : ranks_beside(rank)) {
    const int slots = slots_of_receiver(receiver, backward);
    if (enters(block, receiver, backward)) {
      const int P = num_ranks(), steps = (backward ? block - receiver + P : receiver - block + P) % P;
      return {receiver, first_slot + (steps - 1) % slots, (steps - 1) / slots};
    }
    first_slot += slots;
  }
  invariant(false, "block ", block, " never comes to the node of rank ", rank);
  return {};
}

int NodeMap::landing_slots(int rank) const {
  int forward = 0, backward = 0;
  for (const int receiver : ranks_beside(rank)) {
    forward += slots_of_receiver(receiver, false);
    backward += slots_of_receiver(receiver, true);
  }
  return std::max(forward, backward);
}

int NodeMap::landing_slots_of(int rank) const {
  const std::vector<int>& ranks = ranks_beside(rank);
  const auto size = static_cast<int>(ranks.size());
  const auto mine = static_cast<int>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
  return (landing_slots(rank) - mine + size - 1) / size;
}

std::string NodeMap::text() const {
  int fewest = num_ranks(), most = 0;
  for (const std::vector<int>& ranks : ranks_of_) {
    const auto size = static_cast<int>(ranks.size());
    fewest = std::min(fewest, size);
    most = std::max(most, size);
  }
  return concat(num_nodes(), num_nodes() == 1 ? " node of " : " nodes of ",
                fewest == most ? "" : concat(fewest, " to "), most, most == 1 ? " rank" : " ranks");
}

}  // namespace annulus
