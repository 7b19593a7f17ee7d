#include "model/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/attention_tiles.h"
#include "runtime/core/rng.h"

namespace annulus::test {
namespace {

constexpr int64_t kBlock = 64;

// `total` tokens in documents of log-normal lengths with this mean; the last one is cut.
std::vector<int64_t> log_normal_lengths(int64_t total, double mean, uint64_t seed) {
  constexpr double kSpread = 1.0;  // of the logarithm
  const CounterRng rng(seed, "document lengths");
  std::vector<int64_t> lengths;
  for (uint64_t i = 0; total > 0; ++i) {
    const double length = mean * std::exp(kSpread * rng.normal(i) - 0.5 * kSpread * kSpread);
    lengths.push_back(std::clamp<int64_t>(std::llround(length), 1, total));
    total -= lengths.back();
  }
  return lengths;
}

// Of a decoder of width 1024 with a context for which both parts matter: 12 C^2 and 2 C multiply-adds.
constexpr PackingCosts kCosts = {12.0 * 1024 * 1024, 2.0 * 1024};

// Work of each rank at each step of the flat ring, in which rank r visits its own block, r - 1, r - 2, ...
struct Work {
  std::vector<double> of_rank;
  double slowest_steps = 0.0;  // sum over steps of the slowest rank's
};

Work work_of(const PackedRow& row) {
  const int P = row.placement.num_ranks();
  Work work = {std::vector<double>(static_cast<size_t>(P)), 0.0};
  for (int t = 0; t < P; ++t) {
    double slowest = 0.0;
    for (int r = 0; r < P; ++r) {
      const AttentionTiles tiles =
          make_attention_tiles(row.placement.segments(r), row.placement.segments((r - t + P) % P), row.mask, kBlock);
      double here = kCosts.pair * static_cast<double>(tiles.pairs);
      if (t == 0) here += kCosts.token * static_cast<double>(row.placement.num_tokens(r));
      work.of_rank[static_cast<size_t>(r)] += here;
      slowest = std::max(slowest, here);
    }
    work.slowest_steps += slowest;
  }
  return work;
}

double mean(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

void expect_a_partition(const std::vector<int64_t>& lengths, const PackedRow& row) {
  const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  std::vector<int> documents(static_cast<size_t>(total)), ranks(static_cast<size_t>(total));
  for (size_t i = 0; i < lengths.size(); ++i)
    for (int64_t at = row.begin[i]; at < row.begin[i] + lengths[i]; ++at) ++documents[static_cast<size_t>(at)];
  for (int r = 0; r < row.placement.num_ranks(); ++r)
    for (const int64_t at : row.placement.positions(r)) ++ranks[static_cast<size_t>(at)];
  EXPECT_EQ(std::count(documents.begin(), documents.end(), 1), total) << "a token in no document, or in two";
  EXPECT_EQ(std::count(ranks.begin(), ranks.end(), 1), total) << "a token on no rank, or on two";
  int64_t pairs = 0;
  for (const int64_t length : lengths) pairs += length * (length + 1) / 2;
  EXPECT_EQ(visible_pairs(row.mask), pairs);
  require_valid(row.mask, total, total);
}

TEST(Packing, EveryTokenIsOnOneRankWhateverTheLengths) {
  const std::vector<std::vector<int64_t>> cases = {
      {1},
      {5000},
      {1, 1, 1},
      {255, 256, 257, 511, 512, 513, 1023, 1024, 1025},
      std::vector<int64_t>(700, 1),
      std::vector<int64_t>(13, 200),
      {900, 900, 900},  // on 5 ranks none is cut in zigzag, and two ranks would stay empty
      log_normal_lengths(20000, 300, 1),
      log_normal_lengths(20000, 3000, 2)};
  for (const auto& lengths : cases)
    for (int P = 1; P <= 8; ++P)
      for (const char* placement : {"zigzag", "contiguous", "striped"}) {
        SCOPED_TRACE(std::to_string(lengths.size()) + " documents on " + std::to_string(P) + " ranks, " + placement);
        const PackedRow row = pack_documents(lengths, placement, P, kCosts);
        expect_a_partition(lengths, row);
        const int64_t total = row.placement.num_tokens();
        EXPECT_LE(row.placement.largest(), most_tokens_of_a_rank(total, P));
      }
}

TEST(Packing, TakesNoMoreBlocksThanMemoryIsSizedFor) {
  for (const double length : {40.0, 300.0, 1500.0, 6000.0})
    for (int P = 1; P <= 8; ++P) {
      const std::vector<int64_t> lengths = log_normal_lengths(30000, length, 3);
      const PackedRow row = pack_documents(lengths, "zigzag", P, kCosts);
      const Placement largest = largest_packed_placement(30000, P, kBlock);
      for (int r = 0; r < P; ++r) {
        auto blocks = [&](const Placement& placement) {
          int64_t count = 0;
          for (const Segment& s : placement.segments(r)) count += (s.count + kBlock - 1) / kBlock;
          return count;
        };
        EXPECT_LE(row.placement.num_tokens(r), largest.num_tokens(r));
        EXPECT_LE(blocks(row.placement), blocks(largest)) << "mean " << length << " on " << P << " ranks";
      }
    }
}

// The figures that packing is made for: see docs/NUMERICS.md for what was measured.
TEST(Packing, BalancesLogNormalDocuments) {
  for (const double length : {1000.0, 8000.0, 40000.0})
    for (const int P : {4, 8})
      for (const uint64_t seed : {1, 2, 3, 4, 5}) {
        const PackedRow row = pack_documents(log_normal_lengths(131072, length, seed), "zigzag", P, kCosts);
        const Work work = work_of(row);
        const double balance = *std::max_element(work.of_rank.begin(), work.of_rank.end()) / mean(work.of_rank);
        const double efficiency = mean(work.of_rank) / work.slowest_steps;
        EXPECT_LE(balance, 1.03) << "mean " << length << " P " << P << " seed " << seed;
        EXPECT_GE(efficiency, 0.95) << "mean " << length << " P " << P << " seed " << seed;
        if (std::getenv("ANNULUS_PRINT_ERRORS"))
          std::cout << "packed mean " << length << " P " << P << " seed " << seed << " balance " << balance
                    << " efficiency " << efficiency << "\n";
      }
}

}  // namespace
}  // namespace annulus::test
