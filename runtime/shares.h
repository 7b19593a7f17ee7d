#pragma once
// Which sequences of a global batch a ring takes, and in which micro-batches.
#include <algorithm>
#include <cstdint>

namespace annulus {

/// Consecutive items [begin, end).
struct Share {
  int64_t begin, end;
};

/// Part `index` of `parts` of n items; parts differ by at most one item and may be empty.
inline Share share_of(int64_t n, int index, int parts) { return {n * index / parts, n * (index + 1) / parts}; }

/// body(first item, count) for pieces of at most `largest` items.
template <class Body>
void for_pieces(const Share& share, int64_t largest, Body&& body) {
  for (int64_t first = share.begin; first < share.end; first += largest)
    body(first, std::min(largest, share.end - first));
}

}  // namespace annulus
