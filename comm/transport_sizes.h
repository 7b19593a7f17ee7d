#pragma once
// What every rank of a ring needs to know of the others' buffers.
#include <vector>

#include "comm/group.h"
#include "comm/transport.h"

namespace annulus {

/// Collective: the sizes of all ranks.
std::vector<TransportSizes> gather_sizes(const TransportSizes& mine, Group& ring);

}  // namespace annulus
