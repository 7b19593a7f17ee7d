#include "runtime/step_memory.h"

#include <algorithm>

#include "comm/reduce.h"
#include "runtime/checkpoint.h"
#include "runtime/core/memory.h"

namespace annulus {

void measure_step(Transformer& model, const BatchMaker& batches, int64_t sequence_length, int world_size,
                  StepArenas& arenas) {
  Workspace measuring = {arenas.activations, arenas.scratch, nullptr};
  batches.measure(arenas.batches, [&](const Batch& batch, int64_t length) {
    model.forward(batch, LossGradient::kNo, 1.0, measuring);
    if (length == sequence_length)
      model.backward(batch, model.forward(batch, LossGradient::kYes, 1.0, measuring), measuring);
  });
  arenas.activations.reset();
  const Arena::Scope scope(arenas.reduction);
  arenas.reduction.take({reduce_scratch_floats(world_size)});
}

std::vector<MemoryUse> memory_plan(const ParameterStore& parameters, const FlatRange& mine, int64_t ring_bytes,
                                   const BatchMaker& batches, StepArenas& arenas, int64_t data_bytes) {
  const int64_t all = parameters.flat_elements(), owned = mine.end - mine.begin;
  const int64_t bytes_of_weight = size_of(parameters.dtype()), bytes_of_float = size_of(Dtype::kF32);
  const int64_t bytes_of_master = parameters.dtype() == Dtype::kF32 ? 0 : bytes_of_float;
  std::vector<MemoryUse> plan = {{"parameters", all * bytes_of_weight}, {"gradients", all * bytes_of_float}};
  if (bytes_of_master > 0) plan.push_back({"master weights", owned * bytes_of_master});
  plan.push_back({"optimizer moments", 2 * owned * bytes_of_float});
  plan.push_back({"ring buffers", ring_bytes});
  plan.push_back({"rotary angles", batches.table_bytes()});
  if (data_bytes > 0) plan.push_back({"dataset", data_bytes});
  for (const Arena* arena : arenas.all()) plan.push_back({arena->category(), arena->high_water()});
  // What a rank owns, with its master and both moments, is built in memory file by file.
  const int64_t checkpoint = owned * (bytes_of_weight + bytes_of_master + 2 * bytes_of_float);
  plan.push_back({"checkpoint part", std::min(kMostPartBytes, checkpoint)});
  return plan;
}

int64_t total_bytes(const std::vector<MemoryUse>& uses) {
  int64_t bytes = 0;
  for (const MemoryUse& use : uses) bytes += use.bytes;
  return bytes;
}

int64_t bytes_to_take(const std::vector<MemoryUse>& uses) {
  int64_t bytes = 0;
  for (const MemoryUse& use : uses) bytes += use.category == kProgramMemory ? 0 : use.bytes;
  return bytes;
}

std::string memory_text(const std::vector<MemoryUse>& uses) {
  std::string text;
  for (const MemoryUse& use : uses) text += concat(text.empty() ? "" : ", ", use.category, " ", human_bytes(use.bytes));
  return text;
}

}  // namespace annulus
