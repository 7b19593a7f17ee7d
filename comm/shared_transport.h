#pragma once
// Ranks of one node: a memfd that every one of them maps.
#include <memory>

#include "comm/group.h"
#include "comm/transport.h"

namespace annulus {

/// Collective. Rank 0 makes the memory, the others try to map it and compare a nonce in it: that, not a host name,
/// decides whether the ranks share memory. Returns nullptr on every rank if one of them could not. Throws UserError
/// (71) on every rank if the node has too little memory left. `ring` must outlive the transport.
std::unique_ptr<Transport> make_shared_transport(const TransportSizes& sizes, Group& ring);

}  // namespace annulus
