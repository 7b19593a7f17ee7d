#pragma once

#include <set>
#include <string>
#include <vector>

#include "tests/cudasim/faults/rank.h"
#include "tests/cudasim/runtime/simulation.h"

namespace annulus::cudasim::faults {

/// A planted fault and its clean twin: one program, in which `faulty` changes one thing.
struct FaultCase {
  std::string name;
  std::string wrong;            // in a line
  std::set<FaultKind> seen_as;  // what may be reported, in one schedule or another
  bool wrong_result = false;    // or this, for the host to see
  void (*body)(Rank& rank, bool faulty) = nullptr;
  int ranks = 1;
  SimulationOptions options = {};
  SimulationOptions planted = {};  // whom to kill or hang, where that is the fault
};

std::vector<FaultCase> copy_faults();
std::vector<FaultCase> barrier_faults();
std::vector<FaultCase> lane_faults();
std::vector<FaultCase> block_faults();
std::vector<FaultCase> memory_faults();
std::vector<FaultCase> stream_faults();
std::vector<FaultCase> collective_faults();

}  // namespace annulus::cudasim::faults
