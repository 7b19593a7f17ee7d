#pragma once
// Processes as ranks: shared memory inside a node, and messages between nodes where there are several.
#include <memory>

#include "comm/group.h"
#include "comm/node_map.h"
#include "comm/transport.h"

namespace annulus {

/// Collective. Returns nullptr on every rank if they cannot all map the same memory. Throws UserError (71) on every
/// rank if the node has too little memory left. `ring` must outlive the transport.
std::unique_ptr<Transport> make_shared_transport(const TransportSizes& sizes, Group& ring);

/// Collective: shared memory among the ranks that `nodes` has together, messages between the others. `ring` is a group
/// of MPI processes and must outlive the transport. Throws UserError on every rank: 64 if ranks of a node cannot map
/// the same memory, 71 if a node has too little left.
std::unique_ptr<Transport> make_nodes_transport(const TransportSizes& sizes, const NodeMap& nodes, Group& ring);

}  // namespace annulus
