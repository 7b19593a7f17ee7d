#pragma once
// One rank of the ring, without kernels: blocks and gradients are numbers that say whose they are, of which pass.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "model/ring_attention.h"
#include "tests/support/ring_case.h"

namespace annulus::test {

class Puppet {
 public:
  Puppet(Transport& transport, const Schedule& schedule, bool slow)
      : transport_(transport), schedule_(schedule), slow_(slow) {}

  void make_pass(bool backward) {
    const PassPlan& plan = backward ? schedule_.backward : schedule_.forward;
    ++pass_;
    auto* own = reinterpret_cast<float*>(transport_.begin(plan));
    for (int64_t i = 0; i < floats(schedule_.rank); ++i) own[i] = block_value(schedule_.rank, i);
    transport_.publish();
    for (int t = 0; t < static_cast<int>(plan.visits.size()); ++t) visit(plan, t);
    transport_.end();
  }

 private:
  void visit(const PassPlan& plan, int t) {
    const int block = plan.visits[static_cast<size_t>(t)].block;
    const auto* values = reinterpret_cast<const float*>(transport_.block(t));
    if (plan.backward) {
      auto* sum = reinterpret_cast<float*>(transport_.gradient(t));
      for (int64_t i = 0; i < floats(block); ++i) sum[i] = gradient_value(schedule_.rank, block, i);
      compute(t);
      expect_block(values, block);
      transport_.release(t);
      if (const auto* earlier = reinterpret_cast<const float*>(transport_.arrived(t)))
        for (int64_t i = 0; i < floats(block); ++i) sum[i] += earlier[i];
      if (block == schedule_.rank) expect_sum(sum);
      transport_.hand_over(t);
    } else {
      compute(t);
      expect_block(values, block);
      transport_.release(t);
    }
  }

  // A slow rank passes its own block on in the first visit and then pauses: the others go on as far as they can.
  void compute(int t) {
    for (int i = 0; slow_ && t == 0 && i < 20; ++i) {
      transport_.progress();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    transport_.progress();
    if (slow_ && t == 0) std::this_thread::sleep_for(std::chrono::milliseconds(6));
  }

  int64_t floats(int block) const { return kv_block_numel(schedule_.dims(block)); }
  float block_value(int owner, int64_t i) const { return static_cast<float>(1000 * pass_ + 100 * owner + i % 89); }
  float gradient_value(int rank, int owner, int64_t i) const {  // small integers: their sums are exact
    return static_cast<float>((rank + 1) * (owner + 3) * pass_ + i % 83);
  }

  void expect_block(const float* values, int owner) const {
    int64_t wrong = 0;
    for (int64_t i = 0; i < floats(owner); ++i) wrong += values[i] != block_value(owner, i);
    EXPECT_EQ(wrong, 0) << "of " << floats(owner) << " numbers of block " << owner << " in pass " << pass_;
  }
  void expect_sum(const float* sum) const {
    int64_t wrong = 0;
    for (int64_t i = 0; i < floats(schedule_.rank); ++i) {
      float expected = 0.0f;
      for (size_t r = 0; r < schedule_.num_keys.size(); ++r)
        expected += gradient_value(static_cast<int>(r), schedule_.rank, i);
      wrong += sum[i] != expected;
    }
    EXPECT_EQ(wrong, 0) << "of " << floats(schedule_.rank) << " sums of gradients in pass " << pass_;
  }

  Transport& transport_;
  const Schedule& schedule_;
  bool slow_;
  int pass_ = 0;
};

/// Rank r holds counts[r % counts.size()] tokens, in order.
inline Placement placement_of(const std::vector<int64_t>& counts, int P) {
  std::vector<std::vector<Segment>> segments(static_cast<size_t>(P));
  int64_t begin = 0;
  for (size_t r = 0; r < segments.size(); ++r) {
    const int64_t count = counts[r % counts.size()];
    if (count > 0) segments[r].push_back({begin, count, 1});
    begin += count;
  }
  return Placement(segments);
}

/// Collective: two passes forward and two back over blocks that ranks hold `counts` of; rank `slow` is late in each.
inline void expect_every_number(const MakeTransport& make_transport, const std::vector<int64_t>& counts, int slow,
                                Group& ring) {
  const RingHeads heads = {1, 8, 8, 128, 128};  // 8 KiB a token: such a message waits for its receiver
  const Placement placement = placement_of(counts, ring.size());
  const Mask mask = full_mask(placement.num_tokens(), placement.num_tokens());
  const Schedule schedule = make_flat_ring(placement, placement, mask, heads, ring.rank(), 16);
  const auto transport = make_transport(transport_sizes(placement, heads, ring.rank()), ring);
  Puppet puppet(*transport, schedule, slow == ring.rank());
  for (const bool backward : {false, true, true, false}) puppet.make_pass(backward);
}

}  // namespace annulus::test
