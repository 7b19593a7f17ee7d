#include "comm/choose_transport.h"

#include "comm/agree.h"
#include "comm/mpi_transport.h"
#include "comm/shared_memory.h"
#include "comm/shared_transport.h"
#include "comm/thread_transport.h"
#include "runtime/core/capabilities.h"
#include "runtime/core/error.h"

namespace annulus {

std::string transport_on(const NodeMap& nodes, const std::string& kind) {
  if (kind != "auto") return kind;
  if (nodes.num_nodes() == 1) return "shared";
  return nodes.num_nodes() == nodes.num_ranks() ? "mpi" : "nodes";
}

std::unique_ptr<Transport> choose_transport(const std::string& kind, const TransportSizes& sizes, Group& ring) {
  const bool threads = ring.is_of_threads();
  const auto conflict = conflict_in({{"transport", kind}, {"ranks", threads ? "threads" : "processes"}});
  require_alike(ExitCode::kUsage, !conflict, conflict.value_or(""));
  if (kind == "in-process" || (kind == "auto" && threads)) {
    return make_thread_transport(sizes, ring);
  }
  if (kind == "mpi") return make_mpi_transport(sizes, ring);
  invariant(kind == "shared" || kind == "nodes" || kind == "auto", "unknown transport ", kind);
  if (kind == "shared") {
    std::unique_ptr<Transport> shared = make_shared_transport(sizes, ring);
    require_alike(
        ExitCode::kUsage, shared != nullptr, "--transport=shared (parallel.transport) is not possible: the ",
        "ranks of a ring are not all on one node, or may not map each other's memory; use auto, nodes or mpi");
    return shared;
  }
  const NodeMap nodes = find_nodes(ring);
  const std::string chosen = transport_on(nodes, kind);
  if (chosen == "mpi") return make_mpi_transport(sizes, ring);
  if (chosen == "shared")
    if (auto shared = make_shared_transport(sizes, ring)) return shared;
  return make_nodes_transport(sizes, nodes, ring);
}

}  // namespace annulus
