#pragma once
// machine.json: what a run runs on and what it means to take, for the report and for whoever looks at it years later.
#include <string>
#include <vector>

#include "comm/parallel_dims.h"
#include "runtime/step_memory.h"

namespace annulus {

class Group;

struct Machine {
  std::string annulus, started;  // version; UTC
  ParallelDims dims;
  int threads_per_rank = 0;
  std::string dtype, instruction_set, transport, cpu;
  double peak_flops = 0.0;  // per second, of all cores in use
  std::string peak_dtype;   // in products of which: `dtype`, or f32 where the instruction set has none of it
  int64_t parameters = 0;   // numbers in the model
  struct Node {
    std::string name;
    int ranks;
  };
  std::vector<Node> nodes;
  std::vector<MemoryUse> memory_plan;  // sum over ranks
  int64_t memory_used = 0;             // at most, by all ranks; 0 until the run ends
};

/// Collective. Fills in the time, the CPU, the nodes and the memory plan, of which `memory` is this rank's part, and
/// writes it all on rank 0. Throws AgreedError (73).
void write_machine(const std::string& path, Machine machine, const std::vector<MemoryUse>& memory, Group& world);

/// One rank, at the end: what was used, the last checkpoint included. Throws UserError (65, 73).
void write_memory_used(const std::string& path, int64_t bytes);

/// Throws UserError (65) where there is no such file, or not what write_machine() writes.
Machine read_machine(const std::string& path);

}  // namespace annulus
