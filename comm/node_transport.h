#pragma once
// Ranks on several nodes, several on a node: inside a node the board (board_transport), between nodes messages. A block
// of another node comes to each node once (node_map): its first rank in the order of the visits receives it into a
// landing slot of the board, and all ranks of the node read it there. It was sent by the rank that visited it just
// before, straight from where that one reads it. A gradient sum is read in place, or comes as a message where the ring
// crosses into another node.
//
// `filled` counts the blocks that have landed in a slot, `done` the readers that are through with it; a sender is
// through when its message has left. The next block is received into the slot when all ranks of the node are.
#include <memory>
#include <vector>

#include "comm/board_transport.h"
#include "comm/wire.h"

namespace annulus {

/// Bytes that one rank of such a ring holds: its part of the board and its share of the landing slots.
int64_t node_transport_bytes(const TransportSizes& sizes, const NodeMap& nodes, int rank);

/// `memory` is that of this rank's node and holds Board::bytes(). `ring` must outlive the transport.
std::unique_ptr<Transport> make_node_transport(std::unique_ptr<BoardMemory> memory,
                                               const std::vector<TransportSizes>& sizes, const NodeMap& nodes,
                                               Wire& wire, const Group& ring);

}  // namespace annulus
