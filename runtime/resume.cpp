#include "runtime/resume.h"

#include <filesystem>

#include "comm/agree.h"
#include "runtime/checkpoint.h"
#include "runtime/checkpoint_directory.h"
#include "runtime/checkpoint_manifest.h"
#include "runtime/config_file.h"
#include "runtime/core/log.h"
#include "runtime/planned_rank.h"
#include "runtime/run_directory.h"

namespace annulus {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFixedKeys = {"model", "data", "run.seed"};  // what must stay as it was

// Collective: rank 0's list of places to look at, newest first.
std::vector<std::string> candidates(const std::string& from, const std::string& run_directory, Group& world) {
  if (from != "latest") return {from};
  const std::vector<std::string> mine =
      agree(world, [&] { return world.rank() == 0 ? list_checkpoints(run_directory) : std::vector<std::string>{}; });
  auto count = static_cast<int64_t>(mine.size());
  world.broadcast(&count, sizeof count, 0, "the list of checkpoints");
  std::vector<std::string> all;
  for (int64_t i = 0; i < count; ++i)
    all.push_back(world.broadcast(world.rank() == 0 ? mine[static_cast<size_t>(i)] : "", 0, "the list of checkpoints"));
  return all;
}

struct Fitting {
  RunState state;  // its numbers
  Dtype dtype;     // of the model
};

// Collective: of a checkpoint, after its config and its text were found to be this run's.
Fitting fitting_state(const std::string& checkpoint, const Config& config, const RunState& now, Group& world) {
  auto [state, dtype] = agree(world, [&] {
    if (world.rank() != 0) return Fitting{};
    RunState read = read_run_state(checkpoint);
    const Config saved = parse_config(read.config_text, checkpoint);
    std::string names;
    for (const std::string& name : differing_keys(saved, config, kFixedKeys))
      names += (names.empty() ? "" : ", ") + name;
    require(names.empty(), "this config and the checkpoint '", checkpoint, "' differ in ", names,
            "; model.*, data.* and run.seed must stay as they were (everything else may change)");
    require(ExitCode::kData, read.tokenizer_digest == now.tokenizer_digest, "data.tokenizer: '", config.data.tokenizer,
            "' is not the model that checkpoint '", checkpoint,
            "' was trained with: its content has changed; restore it (the run's directory has a copy, ", kTokenizerName,
            "), or start anew under another name with --run.name=NAME");
    require(ExitCode::kData, read.data_digest == now.data_digest, "data.path: '", config.data.path,
            "' is not the text that checkpoint '", checkpoint,
            "' was trained on: its content has changed; restore it, ",
            "or start anew under another name with --run.name=NAME");
    return Fitting{std::move(read), model_dtype(saved)};
  });
  for (int64_t* number : {&state.step, &state.tokens, &state.rows})
    world.broadcast(number, sizeof *number, 0, "the state of the checkpoint");
  world.broadcast(&dtype, sizeof dtype, 0, "the dtype of the checkpoint");
  return {std::move(state), dtype};
}

void set_aside(const std::string& checkpoint) {
  for (int number = 1;; ++number) {
    const std::string aside = checkpoint + ".set-aside-" + std::to_string(number);
    if (fs::exists(aside)) continue;
    std::error_code error;
    fs::rename(checkpoint, aside, error);
    require(ExitCode::kStorage, !error, "cannot set aside '", checkpoint, "': ", error.message(),
            "; the run does not go on from it: move it away");
    log::warn(concat("the run does not go on from '", checkpoint, "'; it is now '", aside, "'"));
    return;
  }
}

// Of the run's own checkpoints those that are not of the course that goes on from `resumed`: the later ones, and
// another one of the same step.
void set_others_aside(const std::string& resumed, int64_t step, const std::string& run_directory) {
  for (const std::string& checkpoint : list_checkpoints(run_directory)) {
    const std::string name = fs::path(checkpoint).filename().string();
    const bool later = is_later(name, step_name(step)), earlier = is_later(step_name(step), name);
    if (later || (!earlier && !same_checkpoint(checkpoint, resumed))) set_aside(checkpoint);
  }
}

}  // namespace

std::string resume(const std::string& from, const std::string& run_directory, const Config& config, Trainer& trainer,
                   Group& world) {
  const std::vector<std::string> places = candidates(from, run_directory, world);
  for (const std::string& checkpoint : places) {
    // Not damage to go around: falling back to an older one would throw steps away that a later annulus can go on from.
    agree(world, [&] {
      require(ExitCode::kCheckpoint, world.rank() != 0 || !is_of_later_schema(checkpoint), "'", checkpoint,
              "' was written by a later annulus; this one reads schema versions up to ", kSchemaVersion,
              ": use that one, or name an older checkpoint with --resume=PATH");
    });
    try {
      const Fitting saved = fitting_state(checkpoint, config, trainer.state(), world);
      trainer.load(checkpoint, saved.state, saved.dtype);
      if (saved.dtype != model_dtype(config))
        log::inform(concat("note: the checkpoint was trained in ", name_of(saved.dtype), "; this run goes on in ",
                           config.train.dtype));
    } catch (const AgreedError& error) {
      if (from != "latest" || error.code() != ExitCode::kCheckpoint) throw;
      log::warn(concat("looking for an older checkpoint: ", error.what()));
      continue;
    }
    agree(world, [&] {
      if (world.rank() == 0) set_others_aside(checkpoint, trainer.state().step, run_directory);
    });
    return checkpoint;
  }
  require_alike(ExitCode::kCheckpoint, places.empty(), "--resume=latest: none of the ", places.size(),
                " checkpoints in '", run_directory,
                "/checkpoints' can be read; name one with --resume=PATH, or start anew under another name ",
                "with --run.name=NAME");
  return {};
}

}  // namespace annulus
