// annulus train: one run, from its config to its last checkpoint.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "comm/agree.h"
#include "kernels/cpu/isa.h"
#include "launch/commands.h"
#include "launch/rank_env.h"
#include "runtime/config_file.h"
#include "runtime/core/capabilities.h"
#include "runtime/core/log.h"
#include "runtime/core/memory.h"
#include "runtime/machine_file.h"
#include "runtime/open_dataset.h"
#include "runtime/planned_rank.h"
#include "runtime/report/page.h"
#include "runtime/resume.h"
#include "runtime/run_directory.h"
#include "runtime/trace_file.h"
#include "runtime/trainer.h"
#include "runtime/version.h"

namespace annulus {
namespace {

namespace fs = std::filesystem;

// What this process multiplies when it computes in `dtype`, and its peak counts.
Dtype dtype_of_products(Dtype dtype) { return cpu::isa_kernels().has_bf16_products ? dtype : Dtype::kF32; }

void say_what_runs(const Config& config, const Trainer& trainer, const Ranks& ranks, const NodeShare& share) {
  const char* isa = cpu::isa_kernels().name;
  const Dtype dtype = model_dtype(config), products = dtype_of_products(dtype);
  log::inform(fmt::format("annulus {}  {} rank{} = dp {} x cp {}, {} on {}, transport {}", version_text(),
                          ranks.world.size(), ranks.world.size() == 1 ? "" : "s", ranks.dims.dp, ranks.dims.cp,
                          name_of(dtype), isa, trainer.transport().text()));
  const bool one_node = share.ranks_per_node == ranks.world.size();
  log::inform((one_node ? "cores: " : "cores of the first node: ") + share.text());
  if (products != dtype)
    log::inform(
        fmt::format("note: {} has no products of bf16, so operands are widened to f32: as exact, not as fast", isa));
  log::inform(
      fmt::format("model: {:.2f} M parameters; {} tokens per step in sequences of {}; peak {:.0f} GFLOP/s in {}",
                  static_cast<double>(trainer.parameters().num_elements()) / 1e6,
                  config.data.global_batch * config.data.sequence_length, config.data.sequence_length,
                  ranks.peak_flops / 1e9, name_of(products)));
  log::inform(fmt::format("memory per rank: {} ({})", human_bytes(total_bytes(trainer.memory())),
                          memory_text(trainer.memory())));
}

// Collective.
void save_machine(const Config& config, const Trainer& trainer, const Ranks& ranks, const NodeShare& share,
                  const std::string& run_directory) {
  Machine machine;
  machine.annulus = version_text();
  machine.dims = ranks.dims;
  machine.threads_per_rank = share.threads;
  machine.dtype = config.train.dtype;
  machine.peak_dtype = name_of(dtype_of_products(model_dtype(config)));
  machine.instruction_set = cpu::isa_kernels().name;
  machine.transport = trainer.transport().name();
  machine.peak_flops = ranks.peak_flops;
  machine.parameters = trainer.parameters().num_elements();
  write_machine(run_directory + "/machine.json", machine, trainer.memory(), ranks.world);
}

void save(Trainer& trainer, const std::string& run_directory, bool last) {
  const SavedCheckpoint saved = trainer.save(run_directory);
  // A run goes on without a checkpoint in between; one that ends without its last is not done.
  require_alike(
      ExitCode::kStorage, saved.ok || !last, "the last checkpoint was not written: ", saved.problem,
      "; older checkpoints are untouched: mend that, and train the steps behind them again with --resume=latest");
  if (saved.ok)
    log::inform(fmt::format("checkpoint {} ({})", saved.path, human_bytes(saved.bytes)));
  else
    log::warn(fmt::format("no checkpoint at step {}: {}; older checkpoints are untouched", trainer.state().step,
                          saved.problem));
}

// The step to record: that of the config, unless the run ends before or goes on behind it; then the first whose memory
// has all been touched before. 0: none.
int64_t step_to_trace(const TrainConfig& train, int64_t steps_done) {
  constexpr int64_t kWarm = 3;
  if (train.trace_step == 0) return 0;
  const int64_t step = train.trace_step > steps_done ? train.trace_step : steps_done + kWarm;
  return std::min(step, train.steps);
}

void save_trace(const Config& config, Trainer& trainer, const Ranks& ranks, const std::string& run_directory) {
  const std::unique_ptr<const Timeline> timeline = trainer.end_recording();
  const TraceFacts facts = {.run = config.run.name,
                            .step = trainer.state().step,
                            .dims = ranks.dims,
                            .placement = config.parallel.placement,
                            .transport = trainer.transport().name()};
  const std::string problem = write_trace(run_directory + "/trace.json", facts, *timeline, ranks.world);
  if (!problem.empty()) log::warn("no trace of step " + std::to_string(facts.step) + ": " + problem);
}

// The run is done whatever becomes of its picture.
void save_report(const std::string& run_directory, int64_t memory_used) {
  const std::string path = run_directory + "/report.html";
  try {
    if (memory_used > 0) write_memory_used(run_directory + "/machine.json", memory_used);
    write_report(run_directory, path);
    log::inform("report " + path);
  } catch (const std::exception& error) {
    log::warn(std::string("no report: ") + error.what());
  }
}

void run_steps(const Config& config, Trainer& trainer, Metrics& metrics, const Ranks& ranks,
               const std::string& run_directory) {
  const auto is_due = [](int64_t step, int64_t every) { return every > 0 && step % every == 0; };
  const int64_t traced = step_to_trace(config.train, trainer.state().step);
  while (trainer.state().step < config.train.steps) {
    if (trainer.state().step + 1 == traced) trainer.begin_recording();
    const StepStats stats = trainer.step();
    const bool last = stats.step == config.train.steps;
    if (stats.step == traced) save_trace(config, trainer, ranks, run_directory);
    metrics.record(stats, last || is_due(stats.step, config.train.log_every));
    if (is_due(stats.step, config.train.validate_every) || (last && config.train.validate_every > 0))
      metrics.record(trainer.validate());
    if (last || is_due(stats.step, config.checkpoint.every)) save(trainer, run_directory, last);
  }
}

// Where the tokenizer is: at data.tokenizer, or where that is gone (a run that moved) in the directory of the run.
std::string tokenizer_of(const Config& config, bool resuming) {
  std::error_code none;
  const std::string& given = config.data.tokenizer;
  const std::string copy = config.run.directory + "/" + config.run.name + "/" + kTokenizerName;
  if (!resuming || given == "bytes" || fs::exists(given, none) || !fs::exists(copy, none)) return given;
  log::inform("data.tokenizer: '" + given + "' is gone; taking the run's copy '" + copy + "'");
  return copy;
}

void say_tokens(const Config& config, const Dataset& data) {
  const Tokenizer* tokenizer = data.tokenizer();
  if (!tokenizer || tokenizer->is_bytes()) return;
  const int64_t all = data.validation().end;
  log::inform(fmt::format("tokenizer: {}, {} tokens; the text is {} of them, {:.2f} bytes each", tokenizer->name(),
                          tokenizer->size(), all, static_cast<double>(data.text_bytes()) / static_cast<double>(all)));
  if (tokenizer->size() < config.model.vocab)
    log::inform(fmt::format("note: model.vocab = {} is more than the tokenizer's {}; the last {} are never in a text",
                            config.model.vocab, tokenizer->size(), config.model.vocab - tokenizer->size()));
}

void keep_tokenizer(const Dataset& data, const std::string& run_directory) {
  if (data.tokenizer() && !data.tokenizer()->is_bytes())
    write_file(run_directory + "/" + kTokenizerName, data.tokenizer()->file_content());
}

void train_on(const Config& config, const TrainOptions& options, Group& world) {
  const ParallelConfig& parallel = config.parallel;
  const ParallelDims dims = {static_cast<int>(parallel.dp), static_cast<int>(parallel.cp)};
  agree(world, [&] {
    const int wanted = dims.dp * dims.cp, started = world.size();
    const std::string other = started % dims.dp == 0 ? fmt::format(", or set --parallel.cp={}", started / dims.dp) : "";
    require(wanted == started, "parallel.dp x parallel.cp = ", dims.dp, " x ", dims.cp, " = ", wanted, " ranks, but ",
            started, started == 1 ? " was" : " were", " started; start ", wanted, " (launch/run.sh -np ", wanted, ")",
            other);
    require_supported(Command::kTrain,
                      {{"transport", parallel.transport}, {"ranks", world.is_of_threads() ? "threads" : "processes"}});
    cpu::choose_isa(parallel.isa);
  });
  world.set_timeout(parallel.timeout_seconds);
  const NodeShare share = share_of_node(world, static_cast<int>(parallel.threads));
  const std::unique_ptr<Group> ring = world.split(dims.replica_of(world.rank()));
  const bool resuming = !options.resume.empty();
  const std::unique_ptr<const Dataset> data = open_dataset(config, tokenizer_of(config, resuming), world);
  agree(world, [&] {
    data->require_in_vocabulary(config.model.vocab);
    require(ExitCode::kData, config.train.validate_every == 0 || data->validation().size() > 1,
            "data.path: ", config.data.validation_fraction, " (data.validation_fraction) of '", config.data.path,
            "' leaves nothing to predict for validation; raise it, or set train.validate_every to 0");
  });
  RunDirectory directory(config.run, resuming ? RunDirectory::Mode::kResume : RunDirectory::Mode::kNew, world);
  const std::string& path = directory.path();
  const Ranks ranks = {world, *ring, dims, share.ranks_per_node, measure_peak_flops(world, share, model_dtype(config))};
  Trainer trainer(config, *data, ranks);
  const std::string checkpoint = resuming ? resume(options.resume, path, config, trainer, world) : "";
  agree(world, [&] {
    if (world.rank() != 0) return;
    keep_tokenizer(*data, path);
    write_file(path + "/config.toml", config_text(config));
  });
  directory.keep();
  Metrics metrics(path, trainer.state().step, config.train.steps, world.rank() == 0);
  say_what_runs(config, trainer, ranks, share);
  say_tokens(config, *data);
  if (trainer.state().step < config.train.steps) save_machine(config, trainer, ranks, share, path);
  if (resuming)
    log::inform(checkpoint.empty() ? "--resume=latest: no checkpoint yet, starting at step 0"
                                   : "resumed from " + checkpoint);
  if (trainer.state().step >= config.train.steps)
    log::inform(fmt::format("the run has done all its {} steps; give more with --train.steps=N", config.train.steps));
  const bool goes_on = trainer.state().step < config.train.steps;
  run_steps(config, trainer, metrics, ranks, path);
  const int64_t planned = world.sum(total_bytes(trainer.memory()), "the planned memory");
  log::inform(fmt::format("memory of all ranks: {} planned, at most {} used", human_bytes(planned),
                          human_bytes(trainer.peak_memory())));
  if (world.rank() == 0) save_report(path, goes_on ? trainer.peak_memory() : 0);
}

}  // namespace

void train(const TrainOptions& options, Group& processes) {
  const Config config = agree(processes, [&] {
    require_device(Command::kTrain, options.device);
    return read_config(options.config, options.overrides);
  });
  require_same(ExitCode::kUsage, "annulus " + version_text() + "\n" + config_text(config), "the config",
               "all ranks must be started with the same annulus, config and options", processes);
  if (options.print_config) {
    if (processes.rank() == 0) std::cout << config_text(config);
    return;
  }
  run_on_ranks(processes, static_cast<int>(config.parallel.in_process_ranks),
               [&](Group& world) { train_on(config, options, world); });
}

}  // namespace annulus
