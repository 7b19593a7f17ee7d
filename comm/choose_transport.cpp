#include "comm/choose_transport.h"

#include "comm/agree.h"
#include "comm/mpi_transport.h"
#include "comm/shared_transport.h"
#include "comm/thread_transport.h"
#include "runtime/core/capabilities.h"
#include "runtime/core/error.h"

namespace annulus {

std::unique_ptr<Transport> choose_transport(const std::string& kind, const TransportSizes& sizes, Group& ring) {
  const bool threads = std::string(ring.kind()) == "in-process";
  const auto conflict = conflict_in({{"transport", kind}, {"ranks", threads ? "threads" : "processes"}});
  require_alike(ExitCode::kUsage, !conflict, conflict.value_or(""));
  if (kind == "in-process" || (kind == "auto" && threads)) {
    return make_thread_transport(sizes, ring);
  }
  if (kind == "mpi") return make_mpi_transport(sizes, ring);
  invariant(kind == "shared" || kind == "auto", "unknown transport ", kind);
  if (auto shared = make_shared_transport(sizes, ring)) return shared;
  require_alike(
      ExitCode::kUsage, kind == "auto",
      "--transport=shared (parallel.transport) is not possible: the ranks of a ring are not all on one node, or ",
      "may not map each other's memory; use auto or mpi");
  return make_mpi_transport(sizes, ring);
}

}  // namespace annulus
