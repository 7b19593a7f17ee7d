#pragma once
// Ranks as MPI processes. <mpi.h> stays in the .cpp, so that only comm/mpi_*, comm/shared_* and launch/ ever see it.
#include <memory>
#include <vector>

#include "comm/group.h"

namespace annulus {

/// All processes of MPI_COMM_WORLD. MPI must be initialised (MPI_THREAD_FUNNELED or better) and outlive the group.
/// Collective. `order` says which process is rank 0, 1, ... of the group, alike on all of them; without it they are
/// numbered as in MPI_COMM_WORLD.
std::unique_ptr<Group> make_mpi_world(std::vector<int> order = {});

}  // namespace annulus
