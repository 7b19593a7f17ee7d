#pragma once

#include <vector>

#include "tests/cudasim/runtime/communicator.h"

namespace annulus::cudasim {

/// Moves the bytes and marks both as done. Ranks that disagree about what is done fail the simulation
/// (FaultKind::kCollective).
void pass_message(Simulation& simulation, PostedCall& send, PostedCall& receive);

/// The same for a collective, given its calls by rank. Sums go around a ring: the one of chunk c begins at rank c + 1,
/// and each partial sum is rounded to the type, so all ranks get the same bits.
void do_collective(Simulation& simulation, const std::vector<PostedCall*>& calls);

}  // namespace annulus::cudasim
