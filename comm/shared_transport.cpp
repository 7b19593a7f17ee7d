#include "comm/shared_transport.h"

#include "comm/agree.h"
#include "comm/mpi_wire.h"
#include "comm/node_transport.h"
#include "comm/shared_memory.h"
#include "comm/transport_sizes.h"
#include "runtime/core/memory.h"

namespace annulus {
namespace {

// Collective over the node: the most that any rank of it still sees free.
void require_room(int64_t bytes, Group& node, Group& ring) {
  const int64_t available = node.max(node.rank() == 0 ? available_memory() : 0, "free memory");
  agree(ring, [&] {
    require(ExitCode::kMemory, available >= bytes, "the ring needs ", human_bytes(bytes),
            " of shared memory but this node has ", human_bytes(available),
            " left; use shorter sequences or more nodes");
  });
}

}  // namespace

std::unique_ptr<Transport> make_shared_transport(const TransportSizes& sizes, Group& ring) {
  const std::vector<TransportSizes> all = gather_sizes(sizes, ring);
  const int64_t bytes = board_bytes(all);
  require_room(bytes, ring, ring);
  std::unique_ptr<BoardMemory> memory = share_memory(bytes, ring);
  return memory ? make_board_transport("shared", std::move(memory), all, ring) : nullptr;
}

std::unique_ptr<Transport> make_nodes_transport(const TransportSizes& sizes, const NodeMap& nodes, Group& ring) {
  const std::unique_ptr<Wire> wire = make_mpi_wire(ring);
  invariant(wire != nullptr, "messages between ranks that are threads");
  const std::vector<TransportSizes> all = gather_sizes(sizes, ring);
  const int64_t bytes = Board::bytes(all, nodes, ring.rank());
  const std::unique_ptr<Group> node = ring.split(nodes.ranks_beside(ring.rank()).front());
  require_room(bytes, *node, ring);
  std::unique_ptr<BoardMemory> memory = share_memory(bytes, *node);
  agree(ring, [&] {
    require(memory != nullptr, "the ", node->size(), " ranks of a node cannot map the same ", human_bytes(bytes),
            " of memory; use --transport=mpi (parallel.transport)");
  });
  return make_node_transport(std::move(memory), all, nodes, *wire, ring);
}

}  // namespace annulus
