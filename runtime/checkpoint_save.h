#pragma once
// save_checkpoint() with the sizes that tests make small.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/checkpoint.h"

namespace annulus::detail {

struct SaveOptions {
  int64_t part_bytes = kMostPartBytes;
  bool check_space = true;  // before anything is written
  std::function<void()> while_held = nullptr;
};

SavedCheckpoint save_checkpoint(const std::string& run_directory, const RunState& state,
                                const std::vector<TensorRows>& owned, Group& world, const SaveOptions& options);

}  // namespace annulus::detail
