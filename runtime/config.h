#pragma once
// Everything a run can be told, with its defaults: plain structs. One table (config_fields) gives each field its name
// in files and on the command line, its bounds and its sentence of documentation.
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
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
  std::string recompute = "none";
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

/// One key of the config: where it lives in a Config, what it may be, and what it means.
struct ConfigField {
  std::string section, key, help;
  std::variant<int64_t*, double*, bool*, std::string*> value;
  double least = 0.0, most = 0.0;         // numbers: inclusive bounds
  std::vector<std::string> choices = {};  // strings: allowed values; empty: any
  std::string name() const { return section + "." + key; }
};

/// Every field of `config`, in the order of the documentation. The pointers are valid as long as `config` is.
std::vector<ConfigField> config_fields(Config& config);

/// The field's value as TOML: 100, 0.001, true, "zigzag". Doubles keep every bit and always look like doubles.
std::string value_text(const ConfigField& field);

/// What the field may be: "1 to 1000000000", "true or false", "auto, shared, mpi, in-process", "any".
std::string allowed_text(const ConfigField& field);

/// What is wrong with the field's value by itself (bounds, choices, not finite) and how to mend it; empty: nothing.
std::string value_problem(const ConfigField& field);

/// `text` as a TOML string in double quotes.
std::string quoted_text(std::string_view text);

/// "a, b, c"
std::string list_text(const std::vector<std::string>& names);

/// Whether `c` is an ASCII control character: of those, text holds only tabs and ends of lines.
bool is_control(char c);

/// `text` for a message: on one line, harmless to a terminal, and cut where it is long.
std::string printable_text(std::string_view text);

/// Two keys that say one thing, of which a run is told one: data.global_batch and data.global_batch_tokens.
struct TwoWays {
  std::string key, in_tokens;  // in_tokens is 0 where it says nothing
};
const std::vector<TwoWays>& two_ways();

/// Fills in what is derived where it was left at 0 (model.head_dim, model.ffn), turns what was given in tokens into
/// sequences (data.global_batch) and steps (train.steps), its tokens into 0, and throws UserError (64) naming the key
/// where a field is out of its bounds or fields contradict each other. Changes nothing in a config that it completed.
void complete_and_validate(Config& config);

/// Whether the data is text, every byte of which is a token, rather than a file of token ids.
bool reads_text(const DataConfig& data);

/// The Markdown page about every key (docs/CONFIG.md).
std::string config_reference();

/// Names such as "model.width" whose values differ between `a` and `b`, among `sections_or_keys` ("model", "run.seed").
std::vector<std::string> differing_keys(const Config& a, const Config& b,
                                        const std::vector<std::string>& sections_or_keys);

}  // namespace annulus
