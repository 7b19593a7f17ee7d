// annulus bench step: whole training steps of known models on synthetic tokens, as a share of the peak measured in the
// same run, and where their time goes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "comm/agree.h"
#include "kernels/cpu/isa.h"
#include "launch/bench.h"
#include "launch/output_path.h"
#include "launch/rank_env.h"
#include "runtime/config_file.h"
#include "runtime/core/log.h"
#include "runtime/core/memory.h"
#include "runtime/new_file.h"
#include "runtime/shares.h"
#include "runtime/trainer.h"

namespace annulus {
namespace {

constexpr double kLongSeconds = 30.0;  // a step that takes longer is measured at most twice
constexpr int64_t kLongRepeat = 2;

struct BenchModel {
  const char* name;
  int64_t layers, width, heads, vocab, sequences, length;
};
constexpr std::array<BenchModel, 3> kModels = {{{"124m", 12, 768, 12, 50304, 4, 256},
                                                {"small", 6, 384, 6, 8192, 1, 4096},
                                                {"small-32k", 6, 384, 6, 8192, 1, 32768}}};

// What a config says of model and batch.
Config config_of(const BenchModel& model) {
  Config config;
  config.model.layers = model.layers;
  config.model.width = model.width;
  config.model.heads = config.model.kv_heads = model.heads;
  config.model.vocab = model.vocab;
  config.data.sequence_length = model.length;
  config.data.global_batch = config.train.micro_batch = model.sequences;
  return config;
}

Config config_named(const std::string& name) {
  if (name.ends_with(".toml")) return read_config(name, {});
  std::string names;
  for (const BenchModel& model : kModels) {
    if (name == model.name) return config_of(model);
    names += std::string(model.name) + ", ";
  }
  fail(ExitCode::kUsage, "--model=", name, " is not known; there is ", names, "or a config: NAME.toml");
}

// One ring over all ranks, on synthetic tokens.
Config make_config(const std::string& name, const BenchStepOptions& options, int ranks) {
  Config config = config_named(name);
  config.data.path = "synthetic.bin";
  config.data.format = "tokens";
  config.data.tokenizer = "bytes";
  config.parallel.dp = 1;
  config.parallel.cp = ranks;
  config.parallel.transport = options.transport;
  config.train.dtype = options.dtype;
  complete_and_validate(config);
  return config;
}

// Tokens for a few rows, of equal probability.
Dataset make_dataset(const Config& config) {
  constexpr int64_t kRows = 4, kMostIds = int64_t{1} << 16;
  const int64_t rows = kRows * config.data.global_batch + 1, count = rows * (config.data.sequence_length + 1);
  const auto vocab = static_cast<uint64_t>(std::min(config.model.vocab, kMostIds));
  const auto tokens = std::make_shared<std::vector<uint16_t>>(static_cast<size_t>(count));
  const CounterRng rng(1, "synthetic tokens");
  for (int64_t i = 0; i < count; ++i)
    (*tokens)[static_cast<size_t>(i)] = static_cast<uint16_t>(rng.below(static_cast<uint64_t>(i), vocab));
  const void* data = tokens->data();
  return Dataset(config.data, TokenFile(tokens, data, sizeof(uint16_t), count, {0}, true), nullptr);
}

// What a rank does in a step: an activity forward or backward, and how much work the model's formula has for it.
struct Part {
  Activity activity;
  bool backward;
  auto operator<=>(const Part&) const = default;
};

// Seconds in which nothing of what lies inside happened.
std::map<Part, double> own_seconds(const Timeline& timeline) {
  std::map<Part, double> seconds;
  std::vector<const Span*> open;
  for (const Span& span : timeline.spans()) {
    while (!open.empty() && open.back()->end <= span.begin) open.pop_back();
    const double length = 1e-9 * static_cast<double>(span.end - span.begin);
    seconds[{span.activity, span.backward}] += length;
    if (!open.empty()) seconds[{open.back()->activity, open.back()->backward}] -= length;
    open.push_back(&span);
  }
  return seconds;
}

// As Transformer::flops_per_sequence() counts them, of one rank; 0 for what is not counted.
double flops_of(const Part& part, const Config& config, const Timeline& timeline) {
  const ModelConfig& m = config.model;
  const auto tokens = static_cast<double>(config.data.global_batch * config.data.sequence_length / config.parallel.cp);
  const double per_layer = 2.0 * tokens * static_cast<double>(m.layers * m.width) * (part.backward ? 2.0 : 1.0);
  switch (part.activity) {
    case Activity::kProjections:
      return per_layer * static_cast<double>((2 * m.heads + 2 * m.kv_heads) * m.head_dim);
    case Activity::kMlp:
      return per_layer * static_cast<double>(3 * m.ffn);
    case Activity::kLoss:  // its backward runs in the same tiles
      return 6.0 * tokens * static_cast<double>(m.vocab * m.width);
    case Activity::kVisit: {
      std::vector<int64_t> sequences;  // of each micro-batch
      for_pieces({0, config.data.global_batch}, config.train.micro_batch,
                 [&](int64_t, int64_t count) { sequences.push_back(count); });
      int64_t pairs = 0;
      for (const Span& span : timeline.spans())
        if (span.activity == Activity::kVisit && span.backward == part.backward)
          pairs += span.pairs * sequences[static_cast<size_t>(span.micro_batch)];
      return 4.0 * static_cast<double>(pairs * m.heads * m.head_dim) * (part.backward ? 2.5 : 1.0);
    }
    default:
      return 0.0;
  }
}

std::string name_of(const Part& part) {
  switch (part.activity) {
    case Activity::kStep:
      return "rest of the step";
    case Activity::kMicroBatch:
      return "embedding, last norm";
    case Activity::kLayer:
      return part.backward ? "rest of layers, backward" : "rest of layers";
    case Activity::kLoss:
      return "head and loss, both ways";
    default:
      return std::string(name_of(part.activity)) + (part.backward ? ", backward" : "");
  }
}

// A step that was measured; `cpu` seconds are those of all ranks.
struct MeasuredStep {
  StepStats stats;
  double cpu;
  std::unique_ptr<const Timeline> timeline;
};

// By their length. The first step also touches its memory for the first time, and is not counted.
std::vector<MeasuredStep> run_steps(Trainer& trainer, const BenchStepOptions& options, Group& world) {
  const double first = trainer.step().seconds;
  int64_t repeat = first > kLongSeconds ? std::min(kLongRepeat, options.repeat) : options.repeat;
  world.broadcast(&repeat, sizeof repeat, 0, "the number of steps");
  std::vector<MeasuredStep> steps;
  for (int64_t i = 0; i < repeat; ++i) {
    trainer.begin_recording();
    const double begin = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    const StepStats stats = trainer.step();
    const double mine = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - begin;
    const double cpu = world.sum(world.is_of_threads() ? mine / world.size() : mine, "the CPU time");
    steps.push_back({stats, cpu, trainer.end_recording()});
  }
  std::sort(steps.begin(), steps.end(), [](const auto& a, const auto& b) { return a.stats.seconds < b.stats.seconds; });
  return steps;
}

nlohmann::json report_parts(const Timeline& timeline, const Config& config, double peak_of_rank) {
  nlohmann::json parts = nlohmann::json::array();
  const std::map<Part, double> all = own_seconds(timeline);
  double step = 0.0;
  for (const auto& [part, seconds] : all) step += seconds;
  std::vector<std::pair<Part, double>> by_time(all.begin(), all.end());
  std::stable_sort(by_time.begin(), by_time.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [part, seconds] : by_time) {
    const double flops = flops_of(part, config, timeline), of_peak = flops / seconds / peak_of_rank;
    log::inform(fmt::format("    {:<28}{:>10.4f} s{:>7.1f} %{}", name_of(part), seconds, 100.0 * seconds / step,
                            flops > 0.0 ? fmt::format("{:>9.1f} % of peak", 100.0 * of_peak) : ""));
    parts.push_back({{"name", name_of(part)}, {"seconds", seconds}, {"flops", flops}, {"fraction", of_peak}});
  }
  return parts;
}

class StepBenchmark {
 public:
  StepBenchmark(const BenchStepOptions& options, Group& world)
      : options_(options),
        world_(world),
        share_(share_of_node(world, options.threads)),
        peak_(measure_peak_flops(world, share_, bench_dtype(options))) {}

  void run() {
    log::inform("cores: " + share_.text());
    log::inform(fmt::format("peak {:.1f} GFLOP/s of the cores in use, {}; kernels: {}", 1e-9 * peak_, options_.dtype,
                            cpu::isa_kernels().name));
    nlohmann::json rows = nlohmann::json::array();
    for (const std::string& name : options_.models) rows.push_back(measure(name));
    agree(world_, [&] {
      if (world_.rank() == 0 && !options_.json.empty())
        write_file(options_.json, nlohmann::json{{"peak_gflops", 1e-9 * peak_}, {"rows", rows}}.dump(1) + "\n");
    });
  }

 private:
  nlohmann::json measure(const std::string& name) {
    const Config config = agree(world_, [&] { return make_config(name, options_, world_.size()); });
    const Dataset data = make_dataset(config);
    const ParallelDims dims = {1, world_.size()};
    const std::unique_ptr<Group> ring = world_.split(0);
    const Ranks ranks = {world_, *ring, dims, share_.ranks_per_node, peak_};
    Trainer trainer(config, data, ranks);
    const std::vector<MeasuredStep> steps = run_steps(trainer, options_, world_);
    const MeasuredStep& middle = steps[steps.size() / 2];
    const double wall = middle.stats.seconds, share = middle.stats.mfu;
    std::vector<double> cpus;
    for (const MeasuredStep& step : steps) cpus.push_back(step.cpu);
    const double cpu = median(cpus);
    const int busy = std::min(num_cores(share_.shares), num_threads(share_.shares));
    const bool contended = is_contended(wall, busy, cpu) && share_.ranks_per_node == world_.size();
    const int64_t tokens = config.data.global_batch * config.data.sequence_length;
    const ModelConfig& m = config.model;
    log::inform(fmt::format(
        "{:<10} L{} C{} H{} V{} B{} S{} {}: {:.4f} s, {:.0f} tokens/s, {:.1f} % of peak, CPU {:.4f} s, median of {}{}",
        name, m.layers, m.width, m.heads, m.vocab, config.data.global_batch, config.data.sequence_length,
        options_.dtype, wall, static_cast<double>(tokens) / wall, 100.0 * share, cpu, steps.size(),
        contended ? "  contended, do not trust" : ""));
    if (world_.size() > 1) log::inform("    rank 0:");
    nlohmann::json parts = report_parts(*middle.timeline, config, peak_ / world_.size());
    return {{"model", name},
            {"dtype", options_.dtype},
            {"threads", share_.threads},
            {"ranks", world_.size()},
            {"wall_seconds", wall},
            {"cpu_seconds", cpu},
            {"tokens_per_second", static_cast<double>(tokens) / wall},
            {"fraction", share},
            {"contended", contended},
            {"memory_planned", total_bytes(trainer.memory())},
            {"memory_used", trainer.peak_memory()},
            {"parts", parts}};
  }

  const BenchStepOptions& options_;
  Group& world_;
  const NodeShare share_;
  const double peak_;  // flops per second, of all cores in use
};

}  // namespace

void bench_step(const BenchStepOptions& options, Group& processes) {
  run_on_ranks(processes, options.in_process_ranks, [&](Group& world) {
    agree(world, [&] {
      for (const std::string& name : options.models) make_config(name, options, world.size());
      bench_dtype(options);
      cpu::choose_isa(options.isa);
      if (world.rank() == 0 && !options.json.empty()) require_output_path(options.json, "--json");
    });
    StepBenchmark(options, world).run();
  });
}

}  // namespace annulus
