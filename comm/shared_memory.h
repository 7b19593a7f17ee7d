#pragma once
// Memory that processes share: a memfd that each of them maps. Which ranks can is tried, never concluded from host
// names.
#include <memory>

#include "comm/board.h"
#include "comm/group.h"

namespace annulus {

/// Collective: which ranks of `group` can map each other's memory. A rank joins the lowest one whose memory it can map
/// and find a nonce in; where that is not mutual it stands alone.
NodeMap find_nodes(Group& group);

/// Collective: memory that all ranks of `group` map, zero. Returns nullptr on every rank if one of them could not.
std::unique_ptr<BoardMemory> share_memory(int64_t bytes, Group& group);

}  // namespace annulus
