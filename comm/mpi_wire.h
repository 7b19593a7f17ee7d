#pragma once
// A wire of MPI messages: non-blocking, in chunks.
#include <memory>

#include "comm/group.h"
#include "comm/wire.h"

namespace annulus {

/// Returns nullptr where `ring` is not a group of MPI processes. `ring` must outlive the wire and its transfers.
std::unique_ptr<Wire> make_mpi_wire(const Group& ring);

}  // namespace annulus
