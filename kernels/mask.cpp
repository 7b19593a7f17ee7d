#include "kernels/mask.h"

#include <algorithm>

#include "runtime/core/error.h"

namespace annulus {
namespace {

// Integer division that rounds down or up for every sign (the built-in one truncates).
int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); }

constexpr BandSlice kNothing = {0, 0, 0, 0, 0, 0};

// The smallest slice that lets the same pairs through.
BandSlice tightened(BandSlice s) {
  s.q0 = std::max(s.q0, s.k0 + s.lo);  // i >= j + lo >= k0 + lo
  s.q1 = std::min(s.q1, s.k1 + s.hi);  // i <= j + hi <= k1 - 1 + hi
  if (s.q0 >= s.q1) return kNothing;
  s.k0 = std::max(s.k0, s.q0 - s.hi);
  s.k1 = std::min(s.k1, s.q1 - s.lo);
  if (s.k0 >= s.k1 || s.lo > s.hi) return kNothing;
  return s;
}

// Pairs of [q0, q1) x [k0, k1) with i - j <= bound.
int64_t pairs_up_to(const BandSlice& s, int64_t bound) {
  const int64_t width = s.k1 - s.k0;
  const int64_t full_end = std::clamp(s.k0 + bound + 1, s.q0, s.q1);  // rows below it see every key
  const int64_t some_end = std::clamp(s.k1 + bound, s.q0, s.q1);      // rows from there on see none
  const int64_t first = s.k1 + bound - full_end, last = s.k1 + bound - (some_end - 1);
  const int64_t rows = some_end - full_end;
  const __int128 sloped = static_cast<__int128>(first + last) * std::max<int64_t>(rows, 0) / 2;
  return width * (full_end - s.q0) + static_cast<int64_t>(sloped);
}

bool overlap(const BandSlice& a, const BandSlice& b) {
  const BandSlice both = {std::max(a.q0, b.q0), std::min(a.q1, b.q1), std::max(a.k0, b.k0),
                          std::min(a.k1, b.k1), std::max(a.lo, b.lo), std::min(a.hi, b.hi)};
  const BandSlice shared = tightened(both);  // counting the pairs could overflow; finding one cannot
  return shared.q0 < shared.q1;
}

std::string text_of(const BandSlice& s) {
  return concat("(q ", s.q0, "..", s.q1, ", k ", s.k0, "..", s.k1, ", lo ", s.lo, ", hi ", s.hi, ")");
}

}  // namespace

Mask causal_mask(int64_t num_queries, int64_t num_keys) { return {{0, num_queries, 0, num_keys, 0, kUnbounded}}; }

void require_valid(const Mask& mask, int64_t num_queries, int64_t num_keys) {
  for (const BandSlice& s : mask) {
    require(ExitCode::kData,
            0 <= s.q0 && s.q0 <= s.q1 && s.q1 <= num_queries && 0 <= s.k0 && s.k0 <= s.k1 && s.k1 <= num_keys,
            "mask slice ", text_of(s), " reaches outside the ", num_queries, " queries and ", num_keys,
            " keys; a slice is (q0, q1, k0, k1, lo, hi) with 0 <= q0 <= q1 <= queries and 0 <= k0 <= k1 <= keys");
    require(ExitCode::kData, s.lo >= -kUnbounded && s.hi <= kUnbounded && s.lo <= s.hi, "mask slice ", text_of(s),
            " has an empty or too wide band; -2^62 <= lo <= hi <= 2^62 must hold");
  }
  std::vector<BandSlice> sorted = mask;
  std::sort(sorted.begin(), sorted.end(), [](const BandSlice& a, const BandSlice& b) { return a.q0 < b.q0; });
  for (size_t a = 0; a < sorted.size(); ++a)
    for (size_t b = a + 1; b < sorted.size() && sorted[b].q0 < sorted[a].q1; ++b)
      require(ExitCode::kData, !overlap(sorted[a], sorted[b]), "mask slices ", text_of(sorted[a]), " and ",
              text_of(sorted[b]), " overlap; the slices of a mask must be disjoint, or pairs would count twice");
}

Coverage coverage(const BandSlice& s, int64_t q0, int64_t q1, int64_t k0, int64_t k1) {
  const bool inside = s.q0 <= q0 && q1 <= s.q1 && s.k0 <= k0 && k1 <= s.k1;
  q0 = std::max(q0, s.q0), q1 = std::min(q1, s.q1);
  k0 = std::max(k0, s.k0), k1 = std::min(k1, s.k1);
  const int64_t least = q0 - (k1 - 1), most = (q1 - 1) - k0;  // of i - j over what is left of the tile
  if (q0 >= q1 || k0 >= k1 || most < s.lo || least > s.hi) return Coverage::kEmpty;
  return inside && s.lo <= least && most <= s.hi ? Coverage::kFull : Coverage::kPartial;
}

int64_t visible_pairs(const BandSlice& slice) {
  const BandSlice s = tightened(slice);
  if (s.q0 == s.q1) return 0;
  // Bounds that no pair reaches are cut off, so that sums with them stay small.
  const int64_t lo = std::max(s.lo, s.q0 - s.k1 + 1), hi = std::min(s.hi, s.q1 - 1 - s.k0);
  return lo > hi ? 0 : pairs_up_to(s, hi) - pairs_up_to(s, lo - 1);
}

int64_t visible_pairs(const Mask& mask) {
  int64_t pairs = 0;
  for (const BandSlice& slice : mask) pairs += visible_pairs(slice);
  return pairs;
}

BandSlice clip_to_rows(const BandSlice& slice, const Segment& queries, int64_t query_row, const Segment& keys,
                       int64_t key_row) {
  invariant(queries.stride == keys.stride && queries.stride > 0, "query and key segments differ in stride");
  const int64_t stride = queries.stride, shift = queries.begin - keys.begin;  // i - j = shift + stride * (a - b)
  BandSlice rows;
  rows.q0 = std::max<int64_t>(0, ceil_div(slice.q0 - queries.begin, stride));
  rows.q1 = std::min(queries.count, ceil_div(slice.q1 - queries.begin, stride));
  rows.k0 = std::max<int64_t>(0, ceil_div(slice.k0 - keys.begin, stride));
  rows.k1 = std::min(keys.count, ceil_div(slice.k1 - keys.begin, stride));
  rows.lo = ceil_div(slice.lo - shift, stride);
  rows.hi = floor_div(slice.hi - shift, stride);
  rows = tightened(rows);
  if (rows.q0 == rows.q1) return kNothing;
  // Cut the band to what the rows can reach: kernels then add row numbers to it without any overflow.
  rows.lo = std::max(rows.lo, rows.q0 - rows.k1 + 1);
  rows.hi = std::min(rows.hi, rows.q1 - 1 - rows.k0);
  if (rows.lo > rows.hi) return kNothing;
  return {rows.q0 + query_row, rows.q1 + query_row,           rows.k0 + key_row,
          rows.k1 + key_row,   rows.lo + query_row - key_row, rows.hi + query_row - key_row};
}

}  // namespace annulus
