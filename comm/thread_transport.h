#pragma once
// Ranks as threads of one process: the shared-memory protocol over ordinary memory.
#include <memory>

#include "comm/board.h"
#include "comm/group.h"
#include "comm/transport.h"

namespace annulus {

/// Collective. `ring` must be a group of threads ("in-process") and outlive the transport.
std::unique_ptr<Transport> make_thread_transport(const TransportSizes& sizes, Group& ring);

/// Collective: memory that all ranks of a group of threads use, zero.
std::unique_ptr<BoardMemory> share_pages(int64_t bytes, Group& threads);

}  // namespace annulus
