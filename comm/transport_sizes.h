#pragma once
// What every rank of a ring needs to know of the others' buffers.
#include <cstdint>
#include <vector>

#include "comm/group.h"
#include "comm/transport.h"

namespace annulus {

constexpr int64_t kPage = 4096;

/// `bytes` on pages of their own.
constexpr int64_t to_pages(int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

/// Collective: the sizes of all ranks.
std::vector<TransportSizes> gather_sizes(const TransportSizes& mine, Group& ring);

}  // namespace annulus
