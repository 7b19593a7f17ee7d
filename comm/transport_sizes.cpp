#include "comm/transport_sizes.h"

namespace annulus {

std::vector<TransportSizes> gather_sizes(const TransportSizes& mine, Group& ring) {
  const auto own = ring.all_gather(mine.own_block, "buffer sizes");
  const auto block = ring.all_gather(mine.largest_block, "buffer sizes");
  const auto gradient = ring.all_gather(mine.largest_gradient, "buffer sizes");
  std::vector<TransportSizes> all;
  for (size_t r = 0; r < own.size(); ++r) all.push_back({own[r], block[r], gradient[r], own.size() == 1});
  return all;
}

}  // namespace annulus
