// What a map of nodes says about the flat ring, played without kernels and without any transport for every way in which
// up to eight ranks can lie on nodes. The schedules say who visits which block when; the map must say the rest rightly.
#include "comm/node_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>

#include "model/schedule.h"
#include "runtime/core/error.h"
#include "tests/support/masks.h"

namespace annulus::test {
namespace {

constexpr int kMostRanks = 8;

// Calls with every way to put P ranks onto nodes.
void for_all_maps(int P, const std::function<void(const std::vector<int>&)>& body) {
  std::vector<int> node_of_rank;
  std::function<void(int)> add = [&](int num_nodes) {
    if (static_cast<int>(node_of_rank.size()) == P) return body(node_of_rank);
    for (int node = 0; node <= num_nodes; ++node) {
      node_of_rank.push_back(node);
      add(std::max(num_nodes, node + 1));
      node_of_rank.pop_back();
    }
  };
  add(0);
}

std::string text_of(const std::vector<int>& numbers) {
  std::string text;
  for (const int n : numbers) text += concat(n, " ");
  return text;
}

std::vector<Schedule> schedules_of(int P) {
  const Placement placement = contiguous_placement(2 * P, P);
  std::vector<Schedule> all;
  for (int r = 0; r < P; ++r)
    all.push_back(make_flat_ring(placement, placement, full_mask(2 * P, 2 * P), {1, 1, 1, 8, 8}, r, 16));
  return all;
}

// One pass on one map.
class Pass {
 public:
  Pass(const std::vector<int>& node_of_rank, const NodeMap& nodes, const std::vector<Schedule>& schedules,
       bool backward)
      : node_of_(node_of_rank), nodes_(nodes), schedules_(schedules), backward_(backward), P_(nodes.num_ranks()) {}

  // When `rank` visits `block`: all ranks go in step.
  int visit(int rank, int block) const {
    const auto& visits = plan(rank).visits;
    const auto found = std::find_if(visits.begin(), visits.end(), [&](const PassVisit& v) { return v.block == block; });
    return static_cast<int>(found - visits.begin());
  }

  void check() {
    for (int block = 0; block < P_; ++block)
      for (int rank = 0; rank < P_; ++rank)
        if (node(rank) != node(block) && first_of(node(rank), block) == rank) check_entry(block, rank);
    for (int rank = 0; rank < P_; ++rank) {
      check_order(rank);
      if (nodes_.ranks_beside(rank).front() == rank) check_slots(rank);
    }
    for (int r = 0; r < P_; ++r)
      for (const Hop& hop : plan(r).hops)
        if (hop.send && hop.payload == Payload::kKeyValue && nodes_.enters(hop.block, hop.peer, backward_))
          --expected_messages_[{r, hop.peer, hop.block}];
    for (const auto& [who, count] : expected_messages_)
      EXPECT_EQ(count, 0) << "from " << std::get<0>(who) << " to " << std::get<1>(who) << " block " << std::get<2>(who);
  }

 private:
  const PassPlan& plan(int rank) const {
    const Schedule& s = schedules_[static_cast<size_t>(rank)];
    return backward_ ? s.backward : s.forward;
  }
  int node(int rank) const { return node_of_[static_cast<size_t>(rank)]; }
  // The rank of a node that visits the block first.
  int first_of(int node_number, int block) const {
    int first = -1;
    for (int r = 0; r < P_; ++r)
      if (node(r) == node_number && (first < 0 || visit(r, block) < visit(first, block))) first = r;
    return first;
  }

  // The block enters the node with this rank alone, which gets it in time from one that has it.
  void check_entry(int block, int rank) {
    for (const int other : nodes_.ranks_beside(rank)) {
      EXPECT_EQ(nodes_.enters(block, other, backward_), other == rank) << "block " << block << " rank " << other;
      EXPECT_EQ(nodes_.landing(block, other, backward_).receiver, rank);
      EXPECT_EQ(nodes_.landing(block, other, backward_).slot, nodes_.landing(block, rank, backward_).slot);
    }
    const auto& hops = plan(rank).hops;
    const auto receive = std::find_if(hops.begin(), hops.end(), [&](const Hop& hop) {
      return !hop.send && hop.payload == Payload::kKeyValue && hop.block == block;
    });
    ASSERT_NE(receive, hops.end());
    const int sender = receive->peer;
    EXPECT_NE(node(sender), node(rank));
    EXPECT_EQ(receive->needed, visit(rank, block));
    EXPECT_TRUE(sender == block || visit(sender, block) < visit(rank, block));
    ++expected_messages_[{sender, rank, block}];
  }

  void check_order(int rank) {
    std::vector<int> in_order;
    for (const PassVisit& v : plan(rank).visits)
      if (nodes_.enters(v.block, rank, backward_)) in_order.push_back(v.block);
    ASSERT_EQ(nodes_.num_entering(rank, backward_), static_cast<int>(in_order.size()));
    for (size_t n = 0; n < in_order.size(); ++n)
      EXPECT_EQ(nodes_.entering(static_cast<int>(n), rank, backward_), in_order[n]);
  }

  // A slot is received into, under the visit before it is needed, only after the last read of what was there.
  void check_slots(int rank) {
    struct Use {
      int earlier, begin, end;
    };
    std::map<int, std::vector<Use>> uses;
    for (int block = 0; block < P_; ++block) {
      if (node(block) == node(rank)) continue;
      const NodeMap::Landing l = nodes_.landing(block, rank, backward_);
      int last_read = 0;
      for (const int reader : nodes_.ranks_beside(rank)) last_read = std::max(last_read, visit(reader, block));
      uses[l.slot].push_back({l.earlier, visit(l.receiver, block) - 1, last_read + 1});
    }
    for (auto& [slot, list] : uses) {
      EXPECT_GE(slot, 0);
      EXPECT_LT(slot, nodes_.landing_slots(rank));
      std::sort(list.begin(), list.end(), [](const Use& a, const Use& b) { return a.begin < b.begin; });
      for (size_t n = 0; n < list.size(); ++n) {
        EXPECT_EQ(list[n].earlier, static_cast<int>(n));
        EXPECT_TRUE(n == 0 || list[n - 1].end <= list[n].begin) << "slot " << slot << " is overwritten while in use";
      }
    }
  }

  const std::vector<int>& node_of_;
  const NodeMap& nodes_;
  const std::vector<Schedule>& schedules_;
  bool backward_;
  int P_;
  std::map<std::tuple<int, int, int>, int> expected_messages_;
};

TEST(NodeMap, SendsEachBlockOnceToEachNodeIntoSlotsThatAreFree) {
  for (int P = 1; P <= kMostRanks; ++P) {
    const std::vector<Schedule> schedules = schedules_of(P);
    for_all_maps(P, [&](const std::vector<int>& node_of_rank) {
      SCOPED_TRACE(text_of(node_of_rank));
      const NodeMap nodes(node_of_rank);
      for (const bool backward : {false, true}) Pass(node_of_rank, nodes, schedules, backward).check();
    });
  }
}

// Memory: O(1) blocks per rank where the ranks of a node are neighbours in the ring, and never more than all blocks.
TEST(NodeMap, HoldsFewSlots) {
  for (int P = 1; P <= kMostRanks; ++P)
    for_all_maps(P, [&](const std::vector<int>& node_of_rank) {
      const NodeMap nodes(node_of_rank);
      for (int rank = 0; rank < P; ++rank) {
        const std::vector<int>& beside = nodes.ranks_beside(rank);
        const int size = static_cast<int>(beside.size());
        int shares = 0;
        for (const int r : beside) shares += nodes.landing_slots_of(r);
        EXPECT_EQ(shares, nodes.landing_slots(rank));
        const bool in_a_row = beside.back() - beside.front() == size - 1;
        EXPECT_LE(nodes.landing_slots(rank), in_a_row ? size + 1 : P - size);
      }
    });
  std::vector<int> large;  // 16 nodes of 8
  for (int r = 0; r < 128; ++r) large.push_back(r / 8);
  EXPECT_EQ(NodeMap(large).landing_slots(40), 9);
}

TEST(NodeMap, TakesAnyNumbersAndSaysWhatItHolds) {
  const NodeMap nodes({7, -3, 7, 5});
  EXPECT_EQ(nodes.num_nodes(), 3);
  EXPECT_TRUE(nodes.together(0, 2));
  EXPECT_FALSE(nodes.together(0, 3));
  EXPECT_EQ(nodes.ranks_beside(2), (std::vector<int>{0, 2}));
  EXPECT_EQ(nodes.ranks_by_node(), (std::vector<int>{0, 2, 1, 3}));
  EXPECT_EQ(nodes.text(), "3 nodes of 1 to 2 ranks");
  EXPECT_EQ(NodeMap({0, 0, 1, 1}).text(), "2 nodes of 2 ranks");
  EXPECT_EQ(NodeMap({0}).text(), "1 node of 1 rank");
}

}  // namespace
}  // namespace annulus::test
