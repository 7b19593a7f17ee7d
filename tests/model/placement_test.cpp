// Placements: every token on exactly one rank, for any number of tokens on any number of ranks.
#include "model/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "model/schedule.h"
#include "runtime/core/error.h"

namespace annulus::test {
namespace {

const std::vector<std::string> kKinds = {"contiguous", "zigzag", "striped"};

int64_t floor_share(int64_t chunk, int64_t num_chunks, int64_t S) {
  return (chunk + 1) * S / num_chunks - chunk * S / num_chunks;
}

// Global positions [floor(c S / n), floor((c + 1) S / n)).
std::vector<int64_t> chunk_positions(int64_t c, int64_t n, int64_t S) {
  std::vector<int64_t> positions;
  for (int64_t p = c * S / n; p < (c + 1) * S / n; ++p) positions.push_back(p);
  return positions;
}

// Calls check(S, P) for many numbers of tokens and ranks, S < P among them.
template <class Check>
void for_all_sizes(Check&& check) {
  for (int64_t S = 0; S <= 70; ++S)
    for (int P = 1; P <= 8; ++P) {
      SCOPED_TRACE(concat("S ", S, " P ", P));
      check(S, P);
    }
}

TEST(Placement, HoldsEveryTokenExactlyOnce) {
  for (const std::string& kind : kKinds)
    for_all_sizes([&](int64_t S, int P) {
      const Placement placement = make_placement(kind, S, P);
      ASSERT_EQ(placement.num_ranks(), P);
      std::vector<int64_t> all, expected(static_cast<size_t>(S));
      int64_t largest = 0;
      for (int rank = 0; rank < P; ++rank) {
        const std::vector<int64_t> mine = placement.positions(rank);
        EXPECT_EQ(placement.num_tokens(rank), static_cast<int64_t>(mine.size())) << kind;
        EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end())) << kind;
        for (const Segment& segment : placement.segments(rank)) EXPECT_GT(segment.count, 0) << kind;
        largest = std::max(largest, placement.num_tokens(rank));
        all.insert(all.end(), mine.begin(), mine.end());
      }
      std::sort(all.begin(), all.end());
      for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<int64_t>(i);
      EXPECT_EQ(all, expected) << kind;
      EXPECT_EQ(placement.num_tokens(), S) << kind;
      EXPECT_EQ(placement.largest(), largest) << kind;
      EXPECT_TRUE(placement == make_placement(kind, S, P)) << kind;
    });
}

TEST(Placement, ContiguousRanksHoldOneChunkEach) {
  for_all_sizes([](int64_t S, int P) {
    const Placement placement = contiguous_placement(S, P);
    for (int r = 0; r < P; ++r) {
      EXPECT_EQ(placement.num_tokens(r), floor_share(r, P, S));
      EXPECT_EQ(placement.positions(r), chunk_positions(r, P, S));
      EXPECT_LE(placement.segments(r).size(), 1u);
    }
    EXPECT_EQ(placement.largest(), (S + P - 1) / P);
  });
}

TEST(Placement, ZigzagRanksHoldAnEarlyAndTheMirroredLateChunk) {
  for_all_sizes([](int64_t S, int P) {
    const Placement placement = zigzag_placement(S, P);
    for (int r = 0; r < P; ++r) {
      std::vector<int64_t> expected = chunk_positions(r, 2 * P, S);
      const std::vector<int64_t> late = chunk_positions(2 * P - 1 - r, 2 * P, S);
      expected.insert(expected.end(), late.begin(), late.end());
      EXPECT_EQ(placement.positions(r), expected) << "rank " << r;
      EXPECT_EQ(placement.num_tokens(r), floor_share(r, 2 * P, S) + floor_share(2 * P - 1 - r, 2 * P, S));
      for (const Segment& segment : placement.segments(r)) EXPECT_EQ(segment.stride, 1);
    }
  });
}

TEST(Placement, StripedRanksHoldEveryPthToken) {
  for_all_sizes([](int64_t S, int P) {
    const Placement placement = striped_placement(S, P);
    for (int r = 0; r < P; ++r) {
      const int64_t count = r < S ? (S - r + P - 1) / P : 0;
      EXPECT_EQ(placement.num_tokens(r), count);
      if (count == 0)
        EXPECT_TRUE(placement.segments(r).empty());
      else
        EXPECT_EQ(placement.segments(r), (std::vector<Segment>{{r, count, P}}));
    }
  });
}

TEST(Placement, CutsSequencesWhoseProductWithTheRanksNoIntegerHolds) {
  const int64_t S = int64_t{1} << 62;
  const Placement contiguous = contiguous_placement(S, 8), zigzag = zigzag_placement(S, 8);
  for (int r = 0; r < 8; ++r) {
    EXPECT_EQ(contiguous.segments(r), (std::vector<Segment>{{r * (S / 8), S / 8, 1}}));
    EXPECT_EQ(zigzag.num_tokens(r), S / 8);
  }
}

TEST(Placement, ZigzagGivesEveryRankTheSameCausalWorkAtEveryStep) {
  for (int P = 1; P <= 8; ++P)
    for (const int64_t chunk : {1, 2, 5}) {
      const int64_t S = 2 * P * chunk;
      const Placement placement = zigzag_placement(S, P);
      const Mask mask = causal_mask(S, S);
      std::vector<std::vector<int64_t>> pairs_of_rank, backward_pairs_of_rank;  // by visit
      for (int r = 0; r < P; ++r) {
        const Schedule schedule = make_flat_ring(placement, placement, mask, {1, 1, 1, 8, 8}, r, 4);
        auto pairs_of = [&](const PassPlan& plan) {
          std::vector<int64_t> pairs;
          for (const PassVisit& v : plan.visits) pairs.push_back(schedule.tiles[static_cast<size_t>(v.block)].pairs);
          return pairs;
        };
        pairs_of_rank.push_back(pairs_of(schedule.forward));
        backward_pairs_of_rank.push_back(pairs_of(schedule.backward));
      }
      int64_t total = 0;
      for (int r = 0; r < P; ++r) {
        EXPECT_EQ(pairs_of_rank[static_cast<size_t>(r)], pairs_of_rank[0]) << "P " << P << " rank " << r;
        EXPECT_EQ(backward_pairs_of_rank[static_cast<size_t>(r)], backward_pairs_of_rank[0]) << "P " << P;
        for (const int64_t pairs : pairs_of_rank[static_cast<size_t>(r)]) total += pairs;
      }
      EXPECT_EQ(pairs_of_rank[0][0], chunk * (chunk + 1) + chunk * chunk);  // own: two triangles and a square
      for (size_t t = 1; t < pairs_of_rank[0].size(); ++t) EXPECT_EQ(pairs_of_rank[0][t], 2 * chunk * chunk);
      EXPECT_EQ(total, S * (S + 1) / 2);
    }
}

TEST(Placement, AnUnknownKindIsAUsageErrorThatNamesTheThree) {
  for (const std::string kind : {"", "zig-zag", "Striped"}) {
    try {
      make_placement(kind, 8, 2);
      ADD_FAILURE() << "'" << kind << "' was accepted";
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      for (const std::string& part : {"'" + kind + "'", kKinds[0], kKinds[1], kKinds[2]})
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace annulus::test
