#pragma once
// Going on from a checkpoint: which one, whether it fits this config, and what becomes of newer ones.
#include <string>

#include "runtime/trainer.h"

namespace annulus {

/// Collective. `from` is "latest" (the newest checkpoint of the run that can be read; damaged ones are skipped with a
/// warning) or the path of a checkpoint. Fills the trainer and returns the checkpoint's path; "" where "latest" finds
/// none at all. Checkpoints of `run_directory` behind the resumed step, and another one of that step, belong to a
/// course that is not gone on with: they are set aside (renamed, never deleted), so that they are neither overwritten
/// nor taken for this course later. Throws AgreedError: 66 where none can be read or a later annulus wrote it, 64
/// naming the keys where model.*, data.* or run.seed differ from the checkpoint's, 65 where the text itself
/// or the tokenizer has changed.
std::string resume(const std::string& from, const std::string& run_directory, const Config& config, Trainer& trainer,
                   Group& world);

}  // namespace annulus
