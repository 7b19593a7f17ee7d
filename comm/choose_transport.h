#pragma once
// Which transport a ring gets: it follows from where the ranks are, and can be forced.
#include <memory>
#include <string>

#include "comm/group.h"
#include "comm/node_map.h"
#include "comm/transport.h"

namespace annulus {

/// What processes on such nodes get for `kind`: "auto" is shared where all ranks of the ring can map the same memory,
/// mpi where no two of them can, nodes in between; any other is itself.
std::string transport_on(const NodeMap& nodes, const std::string& kind);

/// `kind`: "auto" (in-process for threads; else transport_on() the nodes that are found), "in-process", "shared",
/// "nodes" or "mpi". Throws UserError (64) on every rank where a forced one is not possible here. Collective; `ring`
/// must outlive the transport.
std::unique_ptr<Transport> choose_transport(const std::string& kind, const TransportSizes& sizes, Group& ring);

}  // namespace annulus
