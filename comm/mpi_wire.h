#pragma once
// A wire of MPI messages: non-blocking, in chunks.
#include <memory>

#include "comm/group.h"
#include "comm/wire.h"

namespace annulus {

/// To be called before MPI starts: Open MPI shall send what hops consist of at once, for this wire itself asks for them
/// when there is room. An OMPI_MCA_btl_tcp_eager_limit of the environment stays as it is.
void send_over_tcp_without_asking();

/// Returns nullptr where `ring` is not a group of MPI processes. `ring` must outlive the wire and its transfers.
std::unique_ptr<Wire> make_mpi_wire(const Group& ring);

}  // namespace annulus
