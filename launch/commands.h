#pragma once
// The commands of `annulus`, one function each. They throw UserError; what they return is the exit code.
#include <string>
#include <vector>

#include "comm/group.h"
#include "launch/device.h"

namespace annulus {

struct TrainOptions {
  std::string config;                  // path of the TOML file
  std::vector<std::string> overrides;  // "--section.key=value"
  std::string resume;                  // "", "latest" or the path of a checkpoint
  bool print_config = false;           // print everything, defaults included, and stop
  DeviceOptions device;
};
void train(const TrainOptions& options, Group& processes);

struct PlanOptions {
  std::string config;                  // path of the TOML file
  std::vector<std::string> overrides;  // "--section.key=value"
  int ranks = 0;                       // dp x cp of them; 0: as the config says
  int ranks_per_node = 0;              // which share memory; 0: all of them
  double memory_gib = 0.0;             // of each rank; 0: what this machine has left
};
void plan(const PlanOptions& options, Group& processes);

struct AttentionCommand {
  std::string in, out;
  std::string placement = "zigzag", dtype = "f32", transport = "auto", isa = "auto";
  DeviceOptions device;
  int threads = 0, in_process_ranks = 0, repeat = 1;
  double timeout_seconds = 600.0;
};
void attention(const AttentionCommand& options, Group& processes);

struct BenchOptions {
  std::string json;  // path of the JSON file; "" for none
  std::string isa = "auto", dtype = "f32";
  int threads = 1;
  int64_t repeat = 5;  // runs, of which the median counts
};

struct BenchAttentionOptions : BenchOptions {
  std::vector<int64_t> lengths, widths;
  int64_t heads = 2;
  bool growing = false;  // scores that grow along every row: the worst for the online softmax
};
void bench_attention(const BenchAttentionOptions& options);

struct BenchGemmOptions : BenchOptions {
  std::vector<int64_t> tokens, widths;
};
void bench_gemm(const BenchGemmOptions& options);

struct BenchOpsOptions : BenchOptions {
  int64_t tokens = 16384;  // by default so many that every tensor is larger than a cache
};
void bench_ops(const BenchOpsOptions& options);

// On the ranks that it is started with; threads are those of each, 0: as many as it has cores.
struct BenchOnRanksOptions : BenchOptions {
  BenchOnRanksOptions() { threads = 0; }
  std::string transport = "auto";
  int in_process_ranks = 0;
};

struct BenchRingOptions : BenchOnRanksOptions {
  BenchRingOptions() { repeat = 7; }
  std::vector<int64_t> tokens;  // of each rank
  int64_t heads = 4, kv_heads = 4, width = 64;
};
void bench_ring(const BenchRingOptions& options, Group& processes);

struct BenchStepOptions : BenchOnRanksOptions {
  std::vector<std::string> models = {"124m", "small"};
};
void bench_step(const BenchStepOptions& options, Group& processes);

struct InspectOptions {
  std::string checkpoint;  // a checkpoint, or a run directory (its newest)
  std::string json;        // path of the JSON file; "" for none
};
void inspect(const InspectOptions& options, Group& processes);

struct ReportOptions {
  std::string run;     // a run directory
  std::string output;  // path of the page; "": report.html in it
};
void report(const ReportOptions& options, Group& processes);

struct TokenizerTrainOptions {
  std::string text, model;      // paths: what is read, what is written
  std::string format = "auto";  // of the text, as data.format
  std::string type = "bpe";     // or "unigram"
  int64_t vocab = 8192;         // tokens of the model
  bool force = false;           // whether an existing file is replaced
};
void tokenizer_train(const TokenizerTrainOptions& options, Group& processes);

struct TokenizerShowOptions {
  std::string model;  // path
  std::string text;   // to cut into tokens; "" for none
};
void tokenizer_show(const TokenizerShowOptions& options, Group& processes);

struct SampleOptions {
  std::string checkpoint;  // a checkpoint, or a run directory (its newest)
  std::string prompt;
  int64_t length = 200, seed = 0, top_k = 0;
  double temperature = 0.8;
  std::string isa = "auto";
  int threads = 0;
};
void sample(const SampleOptions& options, Group& processes);

}  // namespace annulus
