// Masks beside brute force over all pairs of positions.
#include "kernels/mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "kernels/attention_tiles.h"
#include "runtime/core/error.h"
#include "runtime/core/rng.h"
#include "tests/support/masks.h"

namespace annulus::test {
namespace {

constexpr int64_t kPositions = 40;
constexpr int64_t kFar = 1'000'000'000'000;  // a position whose square no int64_t holds

class Dice {
 public:
  explicit Dice(uint64_t seed) : rng_(seed, "mask test") {}
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(rng_.below(next_++, static_cast<uint64_t>(high - low + 1)));
  }
  bool once_in(int64_t n) { return between(1, n) == 1; }

 private:
  CounterRng rng_;
  uint64_t next_ = 0;
};

// A slice of [0, kPositions]^2, possibly without rows or keys, each bound missing now and then.
BandSlice random_slice(Dice& dice) {
  const auto [q0, q1] = std::minmax({dice.between(0, kPositions), dice.between(0, kPositions)});
  const auto [k0, k1] = std::minmax({dice.between(0, kPositions), dice.between(0, kPositions)});
  const auto [lo, hi] = std::minmax({dice.between(-kPositions, kPositions), dice.between(-kPositions, kPositions)});
  return {q0, q1, k0, k1, dice.once_in(4) ? -kUnbounded : lo, dice.once_in(4) ? kUnbounded : hi};
}

// Also with bounds in the wrong order: such a slice lets nothing through.
BandSlice random_slice_or_inverted(Dice& dice) {
  BandSlice slice = random_slice(dice);
  if (dice.once_in(5)) std::swap(slice.q0, slice.q1);
  if (dice.once_in(5)) std::swap(slice.k0, slice.k1);
  if (dice.once_in(5)) std::swap(slice.lo, slice.hi);
  return slice;
}

bool sees(const BandSlice& s, int64_t i, int64_t j) {
  return s.q0 <= i && i < s.q1 && s.k0 <= j && j < s.k1 && s.lo <= i - j && i - j <= s.hi;
}

// Pairs of [q0, q1) x [k0, k1) that the slice lets through.
int64_t count_pairs(const BandSlice& s, int64_t q0, int64_t q1, int64_t k0, int64_t k1) {
  int64_t pairs = 0;
  for (int64_t i = q0; i < q1; ++i)
    for (int64_t j = k0; j < k1; ++j) pairs += sees(s, i, j);
  return pairs;
}

int64_t count_pairs(const BandSlice& s) { return count_pairs(s, 0, kPositions, 0, kPositions); }

std::string text(const BandSlice& s) {
  return concat("slice (", s.q0, ", ", s.q1, ", ", s.k0, ", ", s.k1, ", ", s.lo, ", ", s.hi, ")");
}

// The slice with queries moved by `query_shift` and keys by `key_shift`.
BandSlice moved(BandSlice s, int64_t query_shift, int64_t key_shift) {
  s.q0 += query_shift, s.q1 += query_shift;
  s.k0 += key_shift, s.k1 += key_shift;
  if (s.lo != -kUnbounded) s.lo += query_shift - key_shift;
  if (s.hi != kUnbounded) s.hi += query_shift - key_shift;
  return s;
}

TEST(Mask, CoverageEqualsBruteForce) {
  Dice dice(1);
  for (int trial = 0; trial < 20'000; ++trial) {
    const BandSlice slice = random_slice(dice);
    const int64_t q0 = dice.between(0, kPositions), q1 = q0 + dice.between(0, 8);
    const int64_t k0 = dice.between(0, kPositions), k1 = k0 + dice.between(0, 8);
    const int64_t visible = count_pairs(slice, q0, q1, k0, k1);
    const Coverage expected = visible == 0                       ? Coverage::kEmpty
                              : visible == (q1 - q0) * (k1 - k0) ? Coverage::kFull
                                                                 : Coverage::kPartial;
    ASSERT_EQ(coverage(slice, q0, q1, k0, k1), expected)
        << text(slice) << " tile " << q0 << ".." << q1 << " x " << k0 << ".." << k1;
    for (const auto& [far_q, far_k] : {std::pair{kFar, kFar}, {kFar, int64_t{0}}, {int64_t{0}, kFar}})
      ASSERT_EQ(coverage(moved(slice, far_q, far_k), q0 + far_q, q1 + far_q, k0 + far_k, k1 + far_k), expected);
  }
}

TEST(Mask, VisiblePairsEqualsBruteForce) {
  Dice dice(2);
  for (int trial = 0; trial < 5'000; ++trial) {
    const BandSlice slice = random_slice_or_inverted(dice);
    const int64_t expected = count_pairs(slice);
    ASSERT_EQ(visible_pairs(slice), expected) << text(slice);
    for (const auto& [far_q, far_k] : {std::pair{kFar, kFar}, {kFar, int64_t{0}}, {int64_t{0}, kFar}})
      ASSERT_EQ(visible_pairs(moved(slice, far_q, far_k)), expected) << text(slice);
    const BandSlice other = random_slice_or_inverted(dice);
    ASSERT_EQ(visible_pairs(Mask{slice, other}), expected + count_pairs(other));
  }
  EXPECT_EQ(visible_pairs(Mask{}), 0);
  EXPECT_EQ(visible_pairs(causal_mask(1'000'000'000, 1'000'000'000)), 500'000'000'500'000'000);
  EXPECT_EQ(visible_pairs(BandSlice{0, kFar, 0, 7, -kUnbounded, kUnbounded}), 7 * kFar);
}

struct SegmentPair {
  Segment queries, keys;
};

SegmentPair random_segments(Dice& dice, int64_t stride) {
  auto segment = [&] { return Segment{dice.between(0, kPositions), dice.between(0, kPositions / stride), stride}; };
  return {segment(), segment()};
}

TEST(Mask, ClipToRowsEqualsBruteForceForEveryStride) {
  Dice dice(3);
  for (int trial = 0; trial < 20'000; ++trial) {
    const BandSlice slice = random_slice_or_inverted(dice);
    const int64_t stride = 1 + trial % 5;
    const auto [queries, keys] = random_segments(dice, stride);
    const int64_t query_row = dice.between(0, 9), key_row = dice.between(0, 9);
    const BandSlice rows = clip_to_rows(slice, queries, query_row, keys, key_row);
    const std::string what = concat(text(slice), " stride ", stride, " queries ", queries.begin, "+", queries.count,
                                    " keys ", keys.begin, "+", keys.count, " gives ", text(rows));
    int64_t pairs = 0;
    for (int64_t a = 0; a < queries.count; ++a)
      for (int64_t b = 0; b < keys.count; ++b) {
        const bool expected = sees(slice, queries.begin + a * stride, keys.begin + b * stride);
        ASSERT_EQ(sees(rows, query_row + a, key_row + b), expected) << what << " at " << a << ", " << b;
        pairs += expected;
      }
    ASSERT_EQ(rows.q0 == rows.q1, pairs == 0) << what;
    ASSERT_EQ(visible_pairs(rows), pairs) << what;
    if (pairs == 0) continue;
    // Tight: every row and every key takes part, and so does each edge of the band.
    for (int64_t i = rows.q0; i < rows.q1; ++i) ASSERT_GT(count_pairs(rows, i, i + 1, rows.k0, rows.k1), 0) << what;
    for (int64_t j = rows.k0; j < rows.k1; ++j) ASSERT_GT(count_pairs(rows, rows.q0, rows.q1, j, j + 1), 0) << what;
    ASSERT_LE(rows.q0 - (rows.k1 - 1), rows.lo) << what;
    ASSERT_GE(rows.q1 - 1 - rows.k0, rows.hi) << what;
  }
}

TEST(Mask, ClipToRowsIsTheSameFarFromTheOrigin) {
  Dice dice(4);
  for (int trial = 0; trial < 5'000; ++trial) {
    const BandSlice slice = random_slice(dice);
    const auto [queries, keys] = random_segments(dice, 1 + trial % 5);
    const BandSlice near = clip_to_rows(slice, queries, 2, keys, 3);
    for (const auto& [far_q, far_k] : {std::pair{kFar, kFar}, {kFar, int64_t{0}}, {int64_t{0}, kFar}}) {
      const Segment far_queries = {queries.begin + far_q, queries.count, queries.stride};
      const Segment far_keys = {keys.begin + far_k, keys.count, keys.stride};
      ASSERT_EQ(clip_to_rows(moved(slice, far_q, far_k), far_queries, 2, far_keys, 3), near) << text(slice);
    }
  }
  const Segment first = {0, 10, 3}, last = {kFar - 10, 10, 3};
  EXPECT_EQ(visible_pairs(clip_to_rows(causal_mask(2 * kFar, 2 * kFar)[0], last, 0, first, 0)), 100);
  EXPECT_EQ(visible_pairs(clip_to_rows(causal_mask(2 * kFar, 2 * kFar)[0], first, 0, last, 0)), 0);
  EXPECT_EQ(visible_pairs(clip_to_rows(causal_mask(2 * kFar, 2 * kFar)[0], last, 0, last, 0)), 55);
  EXPECT_EQ(visible_pairs(clip_to_rows(full_mask(2 * kFar, 2 * kFar)[0], first, 0, last, 0)), 100);
}

TEST(Mask, KeyRunsEqualBruteForce) {
  Dice dice(5);
  for (int trial = 0; trial < 20'000; ++trial) {
    const BandSlice slice = random_slice(dice);
    const int64_t row0 = dice.between(0, kPositions), row1 = row0 + dice.between(1, 8);
    const KeyRuns runs = key_runs(slice, row0, row1);
    const std::string what = concat(text(slice), " rows ", row0, "..", row1, " gives ", runs.begin, " ",
                                    runs.full_begin, " ", runs.full_end, " ", runs.end);
    std::vector<int64_t> some, all;  // keys that some row, that every row sees
    for (int64_t j = 0; j < kPositions; ++j) {
      const int64_t rows = count_pairs(slice, row0, row1, j, j + 1);
      if (rows > 0) some.push_back(j);
      if (rows == row1 - row0) all.push_back(j);
    }
    ASSERT_EQ(runs.end - runs.begin, static_cast<int64_t>(some.size())) << what;
    if (!some.empty()) {
      ASSERT_EQ(runs.begin, some.front()) << what;
    }
    // The keys that all see between multiples of kKeysTogether; what is left over is masked key by key.
    int64_t full_begin = runs.begin, full_end = runs.begin;
    if (!all.empty()) {
      const int64_t first = (all.front() + kKeysTogether - 1) / kKeysTogether * kKeysTogether;
      const int64_t bound = (all.back() + 1) / kKeysTogether * kKeysTogether;
      if (first < bound) full_begin = first, full_end = bound;
    }
    ASSERT_EQ(runs.full_begin, full_begin) << what;
    ASSERT_EQ(runs.full_end, full_end) << what;
    ASSERT_LE(runs.full_end, runs.end) << what;
  }
}

// What require_valid() says about a mask; empty if it accepts it.
std::string refusal(const Mask& mask, int64_t num_queries, int64_t num_keys) {
  try {
    require_valid(mask, num_queries, num_keys);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kData) << error.what();
    return error.what();
  }
  return "";
}

TEST(Mask, RefusesSlicesOutsideOrInverted) {
  const std::vector<BandSlice> bad = {{-1, 5, 0, 8, 0, 4},
                                      {0, 11, 0, 8, 0, 4},
                                      {5, 4, 0, 8, 0, 4},
                                      {0, 5, -1, 8, 0, 4},
                                      {0, 5, 0, 9, 0, 4},
                                      {0, 5, 8, 7, 0, 4},
                                      {0, 5, 0, 8, 3, 2},
                                      {0, 5, 0, 8, -kUnbounded - 1, 0},
                                      {12, 12, 0, 8, 0, 4},
                                      {0, 5, 9, 9, 0, 4},
                                      {0, 5, 0, 8, 0, kUnbounded + 1}};
  for (const BandSlice& slice : bad) {
    const std::string message = refusal({{0, 0, 0, 0, 0, 0}, slice}, 10, 8);
    EXPECT_NE(message.find(concat("(q ", slice.q0, "..", slice.q1, ", k ", slice.k0, "..", slice.k1, ", lo ", slice.lo,
                                  ", hi ", slice.hi, ")")),
              std::string::npos)
        << text(slice) << ": " << message;
  }
  EXPECT_EQ(refusal({}, 10, 8), "");
  EXPECT_EQ(refusal({{0, 10, 0, 8, -kUnbounded, kUnbounded}}, 10, 8), "");
  EXPECT_EQ(refusal({{4, 4, 3, 3, 2, 2}}, 10, 8), "");
}

TEST(Mask, RefusesOverlappingSlicesAndNamesBoth) {
  const std::string message = refusal({{0, 6, 0, 4, 0, kUnbounded}, {7, 9, 0, 8, 0, 3}, {5, 7, 2, 8, -5, 3}}, 10, 8);
  EXPECT_NE(message.find("(q 0..6, k 0..4, lo 0, hi 4611686018427387904)"), std::string::npos) << message;
  EXPECT_NE(message.find("(q 5..7, k 2..8, lo -5, hi 3)"), std::string::npos) << message;
  EXPECT_EQ(message.find("(q 7..9"), std::string::npos) << message;
  EXPECT_NE(message.find("overlap"), std::string::npos) << message;
}

TEST(Mask, AcceptsSlicesThatOnlyTouch) {
  EXPECT_EQ(refusal({{0, 5, 0, 8, 0, 3}, {5, 10, 0, 8, 0, 3}}, 10, 8), "");   // rows
  EXPECT_EQ(refusal({{0, 10, 0, 4, 0, 3}, {0, 10, 4, 8, 0, 3}}, 10, 8), "");  // keys
  EXPECT_EQ(refusal({{0, 10, 0, 8, 0, 3}, {0, 10, 0, 8, 4, 6}}, 10, 8), "");  // bands
  EXPECT_EQ(refusal({{0, 4, 0, 8, 1, 9}, {3, 9, 3, 8, -9, 9}}, 10, 8), "");   // rectangle and band meet, no pair does
  EXPECT_NE(refusal({{0, 10, 0, 8, 0, 3}, {0, 10, 0, 8, 3, 6}}, 10, 8), "");  // one diagonal in both
  EXPECT_NE(refusal({{0, 10, 0, 8, 0, 3}, {9, 10, 7, 8, 2, 2}}, 10, 8), "");  // the last pair in both
}

TEST(Mask, RefusesExactlyTheOverlapsThatBruteForceFinds) {
  Dice dice(6);
  int num_overlapping = 0;
  for (int trial = 0; trial < 5'000; ++trial) {
    Mask mask;
    for (int64_t n = dice.between(2, 4); n > 0; --n) mask.push_back(random_slice(dice));
    bool overlap = false;
    for (int64_t i = 0; i < kPositions; ++i)
      for (int64_t j = 0; j < kPositions; ++j)
        overlap |= std::count_if(mask.begin(), mask.end(), [&](const BandSlice& s) { return sees(s, i, j); }) > 1;
    num_overlapping += overlap;
    ASSERT_EQ(refusal(mask, kPositions, kPositions) != "", overlap) << text(mask[0]) << " and " << text(mask[1]);
  }
  EXPECT_GT(num_overlapping, 500);
  EXPECT_LT(num_overlapping, 4'500);
}

TEST(Mask, RefusesOverlapsWhosePairsNoIntegerCounts) {
  for (const int64_t S : {int64_t{1} << 32, kFar}) {
    const BandSlice causal = causal_mask(S, S)[0], full = full_mask(S, S)[0];
    EXPECT_NE(refusal({full, full}, S, S), "") << S;
    EXPECT_NE(refusal({causal, full}, S, S), "") << S;
    EXPECT_NE(refusal({causal, causal}, S, S), "") << S;
    EXPECT_EQ(refusal({causal, {0, S, 0, S, -kUnbounded, -1}}, S, S), "") << S;
  }
}

TEST(Mask, TheMasksOfOtherTestsAreValidAndDisjoint) {
  for (int64_t S = 1; S <= 20; ++S)
    for (const NamedMask& m : masks_for(S)) {
      EXPECT_EQ(refusal(m.mask, S, S), "") << m.name << " S " << S;
      for (int64_t i = 0; i < S; ++i)
        for (int64_t j = 0; j < S; ++j)
          EXPECT_LE(std::count_if(m.mask.begin(), m.mask.end(), [&](const BandSlice& s) { return sees(s, i, j); }), 1)
              << m.name << " S " << S << " at " << i << ", " << j;
    }
}

}  // namespace
}  // namespace annulus::test
