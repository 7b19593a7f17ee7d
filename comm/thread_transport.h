#pragma once
// Ranks as threads of one process: the shared-memory protocol over ordinary memory.
#include <memory>

#include "comm/group.h"
#include "comm/transport.h"

namespace annulus {

/// Collective. `ring` must be a group of threads ("in-process") and outlive the transport.
std::unique_ptr<Transport> make_thread_transport(const TransportSizes& sizes, Group& ring);

}  // namespace annulus
