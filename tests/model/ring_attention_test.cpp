// Ring attention over ranks as threads beside the fp64 oracle: every number of ranks, placement and mask.
#include "model/ring_attention.h"

#include <gtest/gtest.h>

#include "tests/support/adversarial_attention.h"
#include "tests/support/ranks.h"
#include "tests/support/ring_case.h"

namespace annulus::test {
namespace {

const std::vector<std::string> kPlacements = {"contiguous", "zigzag", "striped"};

std::string label(const std::string& mask, const std::string& placement, int ranks, int64_t S) {
  return mask + " " + placement + " P " + std::to_string(ranks) + " S " + std::to_string(S);
}

TEST(RingAttention, EqualsOracleOnOneToFiveRanksForEveryMaskAndPlacement) {
  for (const auto& [S, dtype] : {std::pair{37, Dtype::kF32}, {130, Dtype::kF32}, {131, Dtype::kBf16}})
    for (const NamedMask& m : masks_for(S)) {
      const AttentionCase c = make_attention_case({2, S, S, 4, 2, 16, 24}, m.mask, 21, dtype);
      for (const std::string& placement : kPlacements)
        for (const int ranks : {1, 2, 3, 4, 5})
          run_ranks(ranks, [&, S = S, dtype = dtype](Group& ring) {
            const RingRun run = run_ring(c, placement, "auto", ring, 2);
            if (ring.rank() == 0) expect_exact(run.answer, c, label(m.name, placement, ranks, S), dtype);
          });
    }
}

TEST(RingAttention, TakesFewerTokensThanRanks) {
  for (const int64_t S : {1, 2, 3, 4})
    for (const std::string& placement : kPlacements) {
      const AttentionCase ordinary = make_attention_case({1, S, S, 2, 1, 8, 8}, causal_mask(S, S), 22);
      AttentionCase huge = ordinary, tiny = ordinary;
      for (auto* x : {&huge.q, &huge.k, &huge.v}) detail::multiply(*x, 1e4);
      for (auto* x : {&tiny.q, &tiny.k, &tiny.v, &tiny.dout}) detail::multiply(*x, 1e-40);
      solve(huge), solve(tiny);
      for (const AttentionCase* c : std::initializer_list<const AttentionCase*>{&ordinary, &huge, &tiny})
        run_ranks(5, [&](Group& ring) {
          const RingRun run = run_ring(*c, placement, "auto", ring, 3);
          if (ring.rank() == 0) expect_exact(run.answer, *c, label("causal", placement, 5, S));
        });
    }
}

TEST(RingAttention, EqualsOracleAtTheEdgesOfF32) {
  for (const auto& [name, c] : adversarial_cases())
    for (const std::string& placement : kPlacements)
      for (const int ranks : {1, 2, 3, 4, 5})
        run_ranks(ranks, [&, &c = c, &name = name](Group& ring) {
          const RingRun run = run_ring(c, placement, "auto", ring);
          if (ring.rank() == 0) expect_exact(run.answer, c, label(name, placement, ranks, c.shape.Sq));
        });
}

TEST(RingAttention, CrossAttentionPlacesQueriesAndKeysApart) {
  for (const auto& [Sq, Sk] : {std::pair{50, 21}, {21, 50}, {3, 70}})
    for (const std::string& placement : kPlacements) {
      const Mask mask = {{0, Sq, 0, Sk, -kUnbounded, kUnbounded}};
      const AttentionCase c = make_attention_case({1, Sq, Sk, 2, 2, 16, 16}, mask, 23);
      run_ranks(4, [&, Sq = Sq](Group& ring) {
        const RingRun run = run_ring(c, placement, "auto", ring);
        if (ring.rank() == 0) expect_exact(run.answer, c, label("cross", placement, 4, Sq));
      });
    }
}

TEST(RingAttention, CountsTheBytesItVisits) {
  const int64_t S = 101;
  for (const auto& [P, dtype] : {std::pair{1, Dtype::kF32}, {2, Dtype::kF32}, {5, Dtype::kF32}, {3, Dtype::kBf16}}) {
    const AttentionCase c = make_attention_case({2, S, S, 4, 2, 16, 8}, full_mask(S, S), 24, dtype);
    run_ranks(P, [&, P = P, dtype = dtype](Group& ring) {
      const RingRun run = run_ring(c, "contiguous", "auto", ring);
      const Placement keys = contiguous_placement(S, P);
      const int64_t others = S - keys.num_tokens(ring.rank());
      const int64_t elements = 2 * others * 2 * (16 + 8), bytes = elements * size_of(dtype);  // B tokens K (Dqk + Dv)
      EXPECT_EQ(run.counters.bytes_visited_forward, bytes);
      EXPECT_EQ(run.counters.bytes_visited_backward, bytes + 4 * elements);  // gradients in f32
      EXPECT_EQ(run.counters.bytes_sent_forward, 0);                         // read in place
    });
  }
}

}  // namespace
}  // namespace annulus::test
