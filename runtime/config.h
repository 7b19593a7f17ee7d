#pragma once
// Everything a run can be told, with its defaults: plain structs. One table (config_fields.h) gives each field its name
// in files and on the command line, its bounds and its sentence of documentation.
#include <cstdint>
#include <string>
#include <vector>

namespace annulus {

struct RunConfig {
  std::string name = "run";  // runs/NAME/ holds config, metrics and checkpoints
  std::string directory = "runs";
  int64_t seed = 1;
};

struct ModelConfig {
  int64_t layers = 4, width = 256, heads = 4, kv_heads = 4, head_dim = 0, ffn = 0, vocab = 256;
  bool tie_embeddings = true;
  double rope_base = 10000.0, norm_epsilon = 1e-5;
};

struct DataConfig {
  std::string path;
  std::string format = "auto", tokenizer = "bytes";
  int64_t end_of_document = -1;
  bool document_mask = true, restart_positions = true;
  int64_t sequence_length = 1024, global_batch = 4, global_batch_tokens = 0;
  bool batch_in_tokens = false;  // whether global_batch was completed from global_batch_tokens; no key
  double validation_fraction = 0.05;
};

struct ParallelConfig {
  int64_t dp = 1, cp = 1;
  std::string placement = "zigzag", transport = "auto", isa = "auto";
  int64_t threads = 0, in_process_ranks = 0;
  double timeout_seconds = 600.0;
};

struct TrainConfig {
  int64_t steps = 100, tokens = 0, micro_batch = 1;
  double learning_rate = 1e-3, min_learning_rate = 1e-4;
  std::string schedule = "cosine";
  int64_t warmup_steps = 10, decay_steps = 0;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1, max_grad_norm = 1.0;
  int64_t loss_tile = 1024, mlp_tile = 4096, validate_every = 0, log_every = 1, trace_step = 10;
  std::string recompute = "none", dtype = "f32";
};

struct CheckpointConfig {
  int64_t every = 0, keep = 0;
};

struct Config {
  RunConfig run;
  ModelConfig model;
  DataConfig data;
  ParallelConfig parallel;
  TrainConfig train;
  CheckpointConfig checkpoint;
};

/// Fills in what is derived where it was left at 0 (model.head_dim, model.ffn), turns what was given in tokens into
/// sequences (data.global_batch) and steps (train.steps), its tokens into 0, and throws UserError (64) naming the key
/// where a field is out of its bounds or fields contradict each other. Changes nothing in a config that it completed.
void complete_and_validate(Config& config);

/// Whether the data is text, which data.tokenizer makes tokens of, rather than a file of token ids.
bool reads_text(const DataConfig& data);

/// Names such as "model.width" whose values differ between `a` and `b`, among `sections_or_keys` ("model", "run.seed").
std::vector<std::string> differing_keys(const Config& a, const Config& b,
                                        const std::vector<std::string>& sections_or_keys);

}  // namespace annulus
