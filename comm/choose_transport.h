#pragma once
// Which transport a ring gets: it follows from where the ranks are, and can be forced.
#include <memory>
#include <string>

#include "comm/group.h"
#include "comm/transport.h"

namespace annulus {

/// `kind`: "auto" (in-process for threads; else shared where all ranks of the ring can map the same memory, mpi where
/// no two of them can, nodes in between), "in-process", "shared", "nodes" or "mpi". Throws UserError (64) on every rank
/// where a forced one is not possible here. Collective; `ring` must outlive the transport.
std::unique_ptr<Transport> choose_transport(const std::string& kind, const TransportSizes& sizes, Group& ring);

}  // namespace annulus
