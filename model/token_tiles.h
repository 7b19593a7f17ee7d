#pragma once
#include <algorithm>
#include <cstdint>

namespace annulus {

/// body(first, count) for `num_tokens` tokens, `tile` at a time. On tensors without memory there is only its amount to
/// be seen, which the first tile and the last show.
template <class Body>
void for_token_tiles(int64_t num_tokens, int64_t tile, bool shape_only, Body&& body) {
  const int64_t last = (num_tokens - 1) / tile * tile;
  for (int64_t first = 0; first < num_tokens; first = shape_only && first < last ? last : first + tile)
    body(first, std::min(tile, num_tokens - first));
}

}  // namespace annulus
