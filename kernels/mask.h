#pragma once
// Masks as disjoint band slices in global positions, and what a slice means on a tile or on a pair of segments.
#include <cstdint>
#include <string>
#include <vector>

namespace annulus {

constexpr int64_t kUnbounded = int64_t{1} << 62;

/// Query i in [q0, q1) sees key j in [k0, k1) iff lo <= i - j <= hi. -kUnbounded and kUnbounded mean no bound.
struct BandSlice {
  int64_t q0, q1, k0, k1, lo, hi;
  bool operator==(const BandSlice&) const = default;
};

/// A mask: disjoint slices. Causal is one slice with lo = 0; windows, documents, prefixes and sinks are lists of
/// slices.
using Mask = std::vector<BandSlice>;

/// Query i sees keys 0..i.
Mask causal_mask(int64_t num_queries, int64_t num_keys);

/// Throws UserError (65) if a slice reaches outside [0, num_queries) x [0, num_keys), is inverted, or two overlap.
void require_valid(const Mask& mask, int64_t num_queries, int64_t num_keys);

enum class Coverage { kEmpty, kPartial, kFull };

/// What of the tile [q0, q1) x [k0, k1) the slice lets through.
Coverage coverage(const BandSlice& slice, int64_t q0, int64_t q1, int64_t k0, int64_t k1);

/// The number of (query, key) pairs that the slice lets through, in closed form.
int64_t visible_pairs(const BandSlice& slice);
int64_t visible_pairs(const Mask& mask);

/// Tokens at global positions begin, begin + stride, ..., of which there are `count`.
struct Segment {
  int64_t begin, count, stride;
  bool operator==(const Segment&) const = default;
};

/// The slice as seen by rows of two segments of equal stride: queries are `queries` at rows query_row + 0, 1, ..., keys
/// likewise. The result is a slice in row numbers, tightened to the rows that see something; empty (q0 == q1) if none.
BandSlice clip_to_rows(const BandSlice& slice, const Segment& queries, int64_t query_row, const Segment& keys,
                       int64_t key_row);

}  // namespace annulus
