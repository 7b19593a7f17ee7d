#pragma once
// The masks of the design as slice lists, for tests.
#include <string>
#include <vector>

#include "kernels/mask.h"
#include "tests/oracle/attention.h"

namespace annulus::test {

struct NamedMask {
  std::string name;
  Mask mask;
};

inline Mask full_mask(int64_t Sq, int64_t Sk) { return {{0, Sq, 0, Sk, -kUnbounded, kUnbounded}}; }

inline Mask window_mask(int64_t S, int64_t window) { return {{0, S, 0, S, 0, window - 1}}; }

/// Causal inside each document; `ends` are one past the last position of each.
inline Mask document_mask(const std::vector<int64_t>& ends) {
  Mask mask;
  int64_t begin = 0;
  for (const int64_t end : ends) {
    if (end <= begin) continue;
    mask.push_back({begin, end, begin, end, 0, kUnbounded});
    begin = end;
  }
  return mask;
}

/// The first `prefix` positions see each other; the rest is causal.
inline Mask prefix_mask(int64_t S, int64_t prefix) {
  return {{0, prefix, 0, prefix, -kUnbounded, kUnbounded}, {prefix, S, 0, S, 0, kUnbounded}};
}

/// A causal window, and the first `sinks` keys for everyone.
inline Mask sink_window_mask(int64_t S, int64_t window, int64_t sinks) {
  return {{0, S, sinks, S, 0, window - 1}, {0, S, 0, sinks, 0, kUnbounded}};
}

/// Every kind of mask for S queries and S keys, rows that see nothing included.
inline std::vector<NamedMask> masks_for(int64_t S) {
  return {{"causal", causal_mask(S, S)},
          {"full", full_mask(S, S)},
          {"window", window_mask(S, S / 3 + 1)},
          {"documents", document_mask({S / 5, S / 5 + 1, S / 2, S})},
          {"prefix", prefix_mask(S, S / 3)},
          {"sinks", sink_window_mask(S, S / 4 + 1, S > 3 ? 3 : 1)},
          {"anticausal", {{0, S, 0, S, -kUnbounded, -1}}},                 // the last row sees nothing
          {"holes", {{S / 4, S / 2, 0, S / 3, -kUnbounded, kUnbounded}}},  // most rows see nothing
          {"nothing", {}}};
}

inline std::vector<oracle::Slice> oracle_slices(const Mask& mask) {
  std::vector<oracle::Slice> slices;
  for (const BandSlice& s : mask) slices.push_back({s.q0, s.q1, s.k0, s.k1, s.lo, s.hi});
  return slices;
}

}  // namespace annulus::test
