#pragma once
// The memory of a step: its arenas, and the plan that says what a rank will hold before anything runs.
#include <string>
#include <vector>

#include "model/transformer.h"
#include "runtime/batch_maker.h"
#include "runtime/core/arena.h"

namespace annulus {

struct StepArenas {
  Arena batches{"token batches"}, activations{"activations"}, scratch{"scratch"}, reduction{"reduction"};
  std::vector<Arena*> all() { return {&activations, &scratch, &reduction, &batches}; }
};

/// Runs the step itself, of every shape that `batches` expects, on tensors without memory: the arenas then know what it
/// takes.
void measure_step(Transformer& model, const BatchMaker& batches, int64_t sequence_length, int world_size,
                  StepArenas& arenas);

/// What a rank holds before its first step takes any memory: program, libraries, what it has read. Measured, not
/// planned.
constexpr const char* kProgramMemory = "program";

struct MemoryUse {
  std::string category;
  int64_t bytes;
};

/// What one rank holds, by category, after measure_step(): the owner of the rows in `mine`, whose transport has
/// `ring_bytes`; `data_bytes` are of the text's tokens, where they are not mapped from a file.
std::vector<MemoryUse> memory_plan(const ParameterStore& parameters, const FlatRange& mine, int64_t ring_bytes,
                                   const BatchMaker& batches, StepArenas& arenas, int64_t data_bytes);

/// Of all but kProgramMemory, which is taken already.
int64_t bytes_to_take(const std::vector<MemoryUse>& uses);

int64_t total_bytes(const std::vector<MemoryUse>& uses);

/// "parameters 11.51 MiB, gradients 11.51 MiB"
std::string memory_text(const std::vector<MemoryUse>& uses);

}  // namespace annulus
