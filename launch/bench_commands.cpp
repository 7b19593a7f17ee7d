#include "launch/bench_commands.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/agree.h"
#include "kernels/cpu/isa.h"
#include "launch/commands.h"
#include "runtime/core/capabilities.h"

namespace annulus {
namespace {

using Work = std::function<void(Group&)>;

// What all benchmarks have.
template <class Options>
void add_common_options(CLI::App* sub, const std::shared_ptr<Options>& o) {
  sub->add_option("--json", o->json, "Also write the rows to this file");
  sub->add_option("--isa", o->isa, fmt::format("auto, or one of: {}", fmt::join(cpu::supported_isas(), ", ")))
      ->capture_default_str();
  sub->add_option("--repeat", o->repeat, "Runs, of which the median counts")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
}

template <class Options>
void add_dtype(CLI::App* sub, const std::shared_ptr<Options>& o) {
  sub->add_option("--dtype", o->dtype, "f32 or bf16")->capture_default_str();
}

// One subject of `annulus bench`, with the options that all of them have.
template <class Options>
CLI::App* add_benchmark(CLI::App& bench, Work& command, const std::string& name, const std::string& what,
                        const std::shared_ptr<Options>& o, void (*run)(const Options&)) {
  auto* sub = bench.add_subcommand(name, what);
  add_common_options(sub, o);
  sub->add_option("--threads", o->threads, "Threads")->capture_default_str()->check(CLI::Range(1, 65536));
  sub->callback([=, &command] {
    command = [=](Group& processes) {
      agree(processes,
            [&] { require(processes.size() == 1, "bench ", name, " runs on one rank; start it without a launcher"); });
      run(*o);
    };
  });
  return sub;
}

// One that runs on the ranks it is started with.
template <class Options>
CLI::App* add_benchmark_on_ranks(CLI::App& bench, Work& command, const std::string& name, const std::string& what,
                                 const std::shared_ptr<Options>& o, void (*run)(const Options&, Group&)) {
  auto* sub = bench.add_subcommand(name, what);
  add_common_options(sub, o);
  add_dtype(sub, o);
  sub->add_option("--threads", o->threads, "Threads of each rank; 0: cores / ranks")->check(CLI::Range(0, 65536));
  sub->add_option("--transport", o->transport,
                  fmt::format("{}", fmt::join(supported_values("transport", Command::kTrain), ", ")))
      ->capture_default_str();
  sub->add_option("--in-process-ranks", o->in_process_ranks, "Run this many ranks as threads of one process")
      ->check(CLI::Range(0, 65536));
  sub->callback([=, &command] { command = [=](Group& processes) { run(*o, processes); }; });
  return sub;
}

void add_bench_ring(CLI::App& bench, Work& command) {
  auto o = std::make_shared<BenchRingOptions>();
  auto* sub = add_benchmark_on_ranks(bench, command, "ring",
                                     "What the ring costs, beside the same work without communication", o, bench_ring);
  sub->add_option("--tokens", o->tokens, "Tokens of each rank (several may be given); default 128 512 2048")
      ->check(CLI::Range(2, 1 << 24));
  sub->add_option("--heads", o->heads, "Query heads")->capture_default_str()->check(CLI::Range(1, 1024));
  sub->add_option("--kv-heads", o->kv_heads, "Key/value heads")->capture_default_str()->check(CLI::Range(1, 1024));
  sub->add_option("--width", o->width, "Head width")->capture_default_str()->check(CLI::Range(8, 256));
}

void add_bench_step(CLI::App& bench, Work& command) {
  auto o = std::make_shared<BenchStepOptions>();
  auto* sub = add_benchmark_on_ranks(bench, command, "step",
                                     "Whole training steps of known models, and where their time goes", o, bench_step);
  sub->add_option("--model", o->models, "124m, small, small-32k, or a config: NAME.toml (several may be given)")
      ->capture_default_str();
  sub->footer(
      "124m is L12 C768 H12 V50304 on 4 sequences of 256; small is L6 C384 H6 V8192 on one of 4096, or of 32768.\n"
      "Of a config, its model and batch are taken. Tokens are synthetic, and all ranks form one ring.");
}

}  // namespace

void add_bench(CLI::App& app, Work& command) {
  auto* bench = app.add_subcommand("bench", "Rates, as a fraction of the peak measured in the same run");
  bench->require_subcommand(1);
  {
    auto o = std::make_shared<BenchAttentionOptions>();
    auto* sub =
        add_benchmark(*bench, command, "attention", "The attention kernel, forward and backward", o, bench_attention);
    sub->add_option("--length", o->lengths, "Tokens (several may be given); default 2048 4096 8192")
        ->check(CLI::Range(1, 1 << 24));
    sub->add_option("--width", o->widths, "Head width (several may be given); default 64 128")
        ->check(CLI::Range(8, 256));
    sub->add_option("--heads", o->heads, "Heads")->capture_default_str()->check(CLI::Range(1, 1024));
    add_dtype(sub, o);
    sub->add_flag("--growing", o->growing, "Scores that grow along every row: the worst for an online softmax");
  }
  {
    auto o = std::make_shared<BenchGemmOptions>();
    auto* sub = add_benchmark(*bench, command, "gemm", "Matrix products at the shapes of transformers", o, bench_gemm);
    add_dtype(sub, o);
    sub->add_option("--tokens", o->tokens, "Tokens (several may be given); default 64 512 2048 8192")
        ->check(CLI::Range(1, 1 << 24));
    sub->add_option("--width", o->widths, "Model width (several may be given); default 384 768 2048")
        ->check(CLI::Range(1, 65536));
  }
  {
    auto o = std::make_shared<BenchOpsOptions>();
    auto* sub = add_benchmark(*bench, command, "ops", "Ops bound by memory, as a share of the copy rate", o, bench_ops);
    add_dtype(sub, o);
    sub->add_option("--tokens", o->tokens, "Tokens of width 1024; with fewer, tensors fit a cache")
        ->capture_default_str()
        ->check(CLI::Range(1, 1 << 24));
  }
  add_bench_ring(*bench, command);
  add_bench_step(*bench, command);
}

}  // namespace annulus
