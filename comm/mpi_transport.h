#pragma once
// Ranks anywhere: MPI messages in chunks, non-blocking, moved along by progress() because Open MPI 4.1 makes no
// progress on its own.
#include <memory>

#include "comm/group.h"
#include "comm/transport.h"

namespace annulus {

/// What one rank with these sizes holds.
int64_t mpi_transport_bytes(const TransportSizes& sizes);

/// Collective. `ring` must be a group of MPI processes and outlive the transport.
std::unique_ptr<Transport> make_mpi_transport(const TransportSizes& sizes, Group& ring);

}  // namespace annulus
