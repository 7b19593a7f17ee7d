#include "runtime/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runtime/core/error.h"
#include "runtime/nearest.h"

namespace annulus {
namespace {

constexpr double kMostSteps = 1e9;
constexpr double kMostRanks = 65536;
constexpr int64_t kMostTokensAtOnce = int64_t{1} << 36;  // of a micro-batch: no tensor of it has 2^63 bytes
constexpr int64_t kMostTokens = int64_t{1} << 62;        // of a whole run: token counts stay in 64 bits
constexpr double kTwoTo62 = 4611686018427387904.0;       // a bound is a double; 2^63 - 1 is not one
constexpr double kTwoTo31 = 2147483648.0;                // the pairs of a sequence, about its square, stay in 64 bits
constexpr double kMostTokenId = 2147483647.0;            // token ids are 32 bits wide in memory
constexpr double kMostBeta = 0.999999;                   // a beta that is 1 in fp32 makes 1 - beta^step zero
constexpr double kLeastEpsilon = 1e-30;                  // zero, in fp32 too, would make 0 / 0 of a zero gradient
constexpr int64_t kHeadDimStep = 8, kMostHeadDim = 256;  // what the attention kernels are built for
constexpr int64_t kFfnStep = 64;                         // whole vectors and cache lines in every matrix product
constexpr int64_t kByteValues = 256;
constexpr size_t kMostNameBytes = 200;   // file systems stop at 255, and temporary names add to it
constexpr size_t kMostTextBytes = 4096;  // no path may be longer
constexpr size_t kMostShown = 160;       // bytes of somebody's text in a message

using Fields = std::vector<ConfigField>;

Fields run_fields(RunConfig& run) {
  return {
      {"run", "name", "Name of the run: letters, digits and . _ -, not starting with a dot.", &run.name},
      {"run", "directory", "Directory of all runs; directory/name/ holds config, metrics and checkpoints.",
       &run.directory},
      {"run", "seed", "Seed of initial weights and data order; the same for every number of ranks.", &run.seed, 0,
       kTwoTo62},
  };
}

Fields model_fields(ModelConfig& model) {
  return {
      {"model", "layers", "Transformer blocks (attention and MLP).", &model.layers, 1, 1000},
      {"model", "width", "Model width: numbers per token between blocks.", &model.width, 8, 65536},
      {"model", "heads", "Query heads of each attention layer.", &model.heads, 1, 4096},
      {"model", "kv_heads", "Key/value heads, a divisor of heads: heads is MHA, 1 is MQA, between is GQA.",
       &model.kv_heads, 1, 4096},
      {"model", "head_dim", "Width of one head, a multiple of 8; 0: width / heads.", &model.head_dim, 0, kMostHeadDim},
      {"model", "ffn", "Hidden width of the MLP; 0: 8/3 of width, rounded up to a multiple of 64.", &model.ffn, 0,
       1048576},
      {"model", "vocab", "Token ids the model knows, 0 to vocab - 1; the bytes tokenizer needs 256.", &model.vocab, 2,
       kMostTokenId},
      {"model", "tie_embeddings", "Whether the output layer shares the weights of the embedding.",
       &model.tie_embeddings},
      {"model", "rope_base", "Base of the rotary angles (RoPE, arXiv:2104.09864); longer contexts want a larger one.",
       &model.rope_base, 1, 1e12},
      // At 0 a row of zeros would be divided by zero.
      {"model", "norm_epsilon", "Added to the mean square under the root in RMSNorm.", &model.norm_epsilon, 1e-12, 1},
  };
}

Fields data_fields(DataConfig& data) {
  return {
      {"data", "path", "File to train on, relative to the working directory; there is no default.", &data.path},
      {"data",
       "format",
       "text: one document; jsonl: one in each line's \"text\"; tokens: uint16 ids (nanoGPT, llm.c); megatron: .bin "
       "and "
       ".idx; auto: by the file's name.",
       &data.format,
       0,
       0,
       {"auto", "text", "jsonl", "tokens", "megatron"}},
      {"data", "tokenizer", "How text becomes tokens; bytes: every byte is one.", &data.tokenizer, 0, 0, {"bytes"}},
      {"data", "end_of_document", "Format tokens: the id that ends a document; -1: all is one document.",
       &data.end_of_document, -1, 65535},
      {"data", "document_mask", "Whether tokens see, and are predicted from, their own document only.",
       &data.document_mask},
      {"data", "restart_positions", "With document_mask: whether positions begin anew in each document of a sequence.",
       &data.restart_positions},
      {"data", "sequence_length", "Tokens of one whole sequence, over all ranks of a ring; any length fits any cp.",
       &data.sequence_length, 1, kTwoTo31},
      {"data", "global_batch", "Sequences per step over all ranks; independent of dp, cp and micro_batch.",
       &data.global_batch, 1, kMostTokenId},
      {"data", "global_batch_tokens",
       "The same in tokens, a multiple of sequence_length; a run's config.toml has it as global_batch. 0: not given.",
       &data.global_batch_tokens, 0, kTwoTo62},
      // More than half for validation is nearly always a percentage (5 for 0.05).
      {"data", "validation_fraction", "Fraction of the data kept for validation and never trained on; 0: none.",
       &data.validation_fraction, 0, 0.5},
  };
}

Fields parallel_fields(ParallelConfig& parallel) {
  const std::vector<std::string> placements = {"contiguous", "zigzag", "striped"};
  const std::vector<std::string> transports = {"auto", "shared", "mpi", "in-process"};
  const std::vector<std::string> instruction_sets = {"auto", "plain", "avx2", "avx512"};
  return {
      {"parallel", "dp", "Data-parallel rings; dp * cp is the number of ranks. May exceed global_batch.", &parallel.dp,
       1, kMostRanks},
      {"parallel", "cp", "Ranks of one ring, among which each sequence is divided.", &parallel.cp, 1, kMostRanks},
      {"parallel", "placement", "Which tokens a rank holds; zigzag and striped give all ranks equal causal work.",
       &parallel.placement, 0, 0, placements},
      {"parallel", "transport", "What carries blocks between ranks; auto: the fastest that reaches all of them.",
       &parallel.transport, 0, 0, transports},
      {"parallel", "isa", "Instruction set of the CPU kernels; auto: the best this machine has.", &parallel.isa, 0, 0,
       instruction_sets},
      {"parallel", "threads", "Threads per rank; 0: the cores of the machine divided by its ranks, at least 1.",
       &parallel.threads, 0, 4096},
      {"parallel", "in_process_ranks", "Ranks as threads of one process, dp * cp of them; 0: ranks are processes.",
       &parallel.in_process_ranks, 0, 1024},
      // There is no "for ever": a wait without a deadline is a hang that nobody can explain.
      {"parallel", "timeout_seconds", "Seconds a rank waits for another before it gives the run up.",
       &parallel.timeout_seconds, 1.0, 1e6},
  };
}

Fields train_fields(TrainConfig& train) {
  const std::vector<std::string> schedules = {"cosine", "linear", "wsd", "constant"};
  return {
      {"train", "steps", "Optimizer steps of the whole run.", &train.steps, 1, kMostSteps},
      {"train", "tokens",
       "The same in tokens, rounded up to whole steps; a run's config.toml has it as steps. 0: not given.",
       &train.tokens, 0, kTwoTo62},
      {"train", "micro_batch",
       "Sequences a ring computes at a time, at most its share of the batch; fewer need less memory.",
       &train.micro_batch, 1, kMostTokenId},
      {"train", "learning_rate", "Highest learning rate, reached after the warm-up.", &train.learning_rate, 0, 100},
      {"train", "min_learning_rate",
       "Learning rate at the last step (unless schedule is constant); at most learning_rate.", &train.min_learning_rate,
       0, 100},
      {"train", "schedule",
       "How the learning rate goes on after the warm-up: down to the last step along a half cosine or a line; wsd "
       "(warm-up, stable, decay): constant, then a line over the last decay_steps; or constant to the end.",
       &train.schedule, 0, 0, schedules},
      {"train", "warmup_steps",
       "Steps over which the learning rate rises from 0; 0: no warm-up. A run with fewer steps ends inside it.",
       &train.warmup_steps, 0, kMostSteps},
      {"train", "decay_steps",
       "Last steps over which wsd lowers the learning rate, at most steps - warmup_steps; 0 for every other schedule.",
       &train.decay_steps, 0, kMostSteps},
      {"train", "beta1", "AdamW: decay of the mean of gradients.", &train.beta1, 0, kMostBeta},
      {"train", "beta2", "AdamW: decay of the mean of squared gradients.", &train.beta2, 0, kMostBeta},
      {"train", "epsilon", "AdamW: added to the root of the mean square.", &train.epsilon, kLeastEpsilon, 1},
      {"train", "weight_decay", "AdamW: decoupled weight decay, times the learning rate; 0: none.", &train.weight_decay,
       0, 100},
      {"train", "max_grad_norm", "Gradients are scaled down to this global norm; 0: never.", &train.max_grad_norm, 0,
       1e9},
      {"train", "loss_tile", "Tokens whose logits exist at a time (memory: loss_tile * vocab numbers).",
       &train.loss_tile, 1, 1048576},
      {"train", "mlp_tile", "Tokens that the MLP takes at a time; with recompute only their activations exist at once.",
       &train.mlp_tile, 1, 1 << 20},
      {"train",
       "recompute",
       "What backward computes again to save memory: nothing, the MLP's activations, or all of a block but its "
       "attention.",
       &train.recompute,
       0,
       0,
       {"none", "mlp", "block"}},
      {"train", "validate_every", "Steps between two validations, and one at the end; 0: never.", &train.validate_every,
       0, kMostSteps},
      {"train", "log_every", "Steps between two lines on the terminal; metrics.jsonl has a line for every step.",
       &train.log_every, 1, kMostSteps},
      {"train", "trace_step",
       "Step that trace.json shows on every rank: this, or the last of a shorter run, or the third after a resume "
       "behind "
       "it; 0: none.",
       &train.trace_step, 0, kMostSteps},
  };
}

Fields checkpoint_fields(CheckpointConfig& checkpoint) {
  return {
      {"checkpoint", "every", "Steps between two checkpoints; 0: only the one at the end, which is always written.",
       &checkpoint.every, 0, kMostSteps},
      {"checkpoint", "keep",
       "How many of the newest checkpoints to keep; after a save, the older ones are deleted. 0: all.",
       &checkpoint.keep, 0, kMostSteps},
  };
}

// ---- values as text

std::string double_text(double value) {
  std::string text = fmt::format("{}", value);  // the shortest that reads back to the same bits
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

bool in_bounds(const ConfigField& field) {
  if (const auto* integer = std::get_if<int64_t*>(&field.value))
    return int64_t(field.least) <= **integer && **integer <= int64_t(field.most);
  if (const auto* number = std::get_if<double*>(&field.value))
    return field.least <= **number && **number <= field.most;  // false for NaN
  return true;
}

std::string type_of(const ConfigField& field) {
  if (std::holds_alternative<int64_t*>(field.value)) return "integer";
  if (std::holds_alternative<double*>(field.value)) return "number";
  return std::holds_alternative<bool*>(field.value) ? "boolean" : "string";
}

// ---- what must hold between fields

int64_t rounded_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

int64_t largest_divisor_up_to(int64_t value, int64_t limit) {
  int64_t divisor = std::min(value, limit);
  while (value % divisor != 0) --divisor;
  return divisor;
}

void complete_head_dim(ModelConfig& model) {
  const bool derived = model.head_dim == 0;
  if (derived) {
    require(model.width % model.heads == 0, "model.width = ", model.width,
            " is not a multiple of model.heads = ", model.heads,
            " (model.head_dim = 0 means width / heads); set model.width to a multiple, for example ",
            rounded_up(model.width, kHeadDimStep * model.heads), ", or model.head_dim yourself");
    model.head_dim = model.width / model.heads;
  }
  const int64_t near = std::clamp(rounded_up(model.head_dim, kHeadDimStep), kHeadDimStep, kMostHeadDim);
  require(near == model.head_dim, "model.head_dim = ", model.head_dim, derived ? " (model.width / model.heads)" : "",
          " is not a multiple of ", kHeadDimStep, " up to ", kMostHeadDim,
          " (what the attention kernels are built for); set model.head_dim to ", near,
          derived ? " or choose another model.heads" : "");
}

void complete_model(ModelConfig& model) {
  const int64_t H = model.heads, K = model.kv_heads;
  require(H % K == 0, "model.heads = ", H, " is not a multiple of model.kv_heads = ", K,
          " (each key/value head serves heads / kv_heads query heads); set model.kv_heads to a divisor of ", H,
          ", for example ", largest_divisor_up_to(H, K));
  complete_head_dim(model);
  if (model.ffn == 0) model.ffn = rounded_up((8 * model.width + 2) / 3, kFfnStep);
}

void complete_batch(DataConfig& data) {
  const int64_t S = data.sequence_length, tokens = data.global_batch_tokens;
  if (tokens == 0) return;
  const int64_t below = tokens / S * S, above = below + S;
  require(tokens % S == 0, "data.global_batch_tokens = ", tokens, " is no whole number of sequences of ",
          "data.sequence_length = ", S, " tokens; set it to ", below == 0 ? "" : concat(below, " or "), above);
  const auto most = int64_t(kMostTokenId);
  require(tokens / S <= most, "data.global_batch_tokens = ", tokens, " is ", tokens / S, " sequences of ",
          "data.sequence_length = ", S, " tokens, more than the ", most, " of a step; set it to at most ", most * S);
  data.global_batch = tokens / S;
  data.global_batch_tokens = 0;
}

void complete_steps(TrainConfig& train, const DataConfig& data) {
  if (train.tokens == 0) return;
  const int64_t per_step = data.global_batch * data.sequence_length;  // below 2^62
  const int64_t steps = (train.tokens - 1) / per_step + 1;
  require(steps <= int64_t(kMostSteps), "train.tokens = ", train.tokens, " is ", steps, " steps of ", per_step,
          " tokens, more than the ", int64_t(kMostSteps), " of a run; lower it, or raise data.global_batch");
  train.steps = steps;
  train.tokens = 0;
}

void validate_run(const RunConfig& run) {
  const bool plain = std::all_of(run.name.begin(), run.name.end(), [](char c) {
    return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
  require(plain && !run.name.empty() && run.name.front() != '.' && run.name.size() <= kMostNameBytes,
          "run.name = ", printable_text(quoted_text(run.name)), " does not name a directory of its own; use 1 to ",
          kMostNameBytes, " letters, digits and . _ -, not starting with a dot");
  require(!run.directory.empty(), "run.directory is empty; write \".\" for the working directory");
}

void validate_data(const DataConfig& data, const ModelConfig& model, const TrainConfig& train) {
  require(!data.path.empty(), "data.path is empty: there is nothing to train on; name a file, in the config or as ",
          "--data.path=FILE");
  const bool is_text = reads_text(data);
  require(data.end_of_document < 0 || !is_text, "data.end_of_document = ", data.end_of_document,
          " ends documents of token files, but data.path is text; leave it at -1");
  require(!is_text || data.tokenizer != "bytes" || model.vocab >= kByteValues, "model.vocab = ", model.vocab,
          " is too small for data.tokenizer = \"bytes\", which makes tokens 0 to ", kByteValues - 1,
          "; set model.vocab to ", kByteValues, " or more");
  const double tokens = double(train.steps) * double(data.global_batch) * double(data.sequence_length);
  require(tokens < double(kMostTokens), "train.steps * data.global_batch * data.sequence_length = ", tokens,
          " tokens is more than the ", double(kMostTokens), " that can be counted; lower one of them");
  require(train.micro_batch <= kMostTokensAtOnce / data.sequence_length,
          "train.micro_batch * data.sequence_length = ", double(train.micro_batch) * double(data.sequence_length),
          " tokens at a time is more than the ", double(kMostTokensAtOnce),
          " that can be addressed; lower train.micro_batch");
  require(train.validate_every == 0 || data.validation_fraction > 0.0, "train.validate_every = ", train.validate_every,
          " asks for validation, but data.validation_fraction = 0 keeps no data for it; set ",
          "data.validation_fraction above 0, for example 0.05, or train.validate_every to 0");
}

void validate_parallel(const ParallelConfig& parallel) {
  const int64_t ranks = parallel.dp * parallel.cp, threads = parallel.in_process_ranks;
  require(ranks <= int64_t(kMostRanks), "parallel.dp * parallel.cp = ", parallel.dp, " * ", parallel.cp, " = ", ranks,
          " is more than ", int64_t(kMostRanks), " ranks; lower one of them");
  if (threads == 0) return;
  require(threads == ranks, "parallel.in_process_ranks = ", threads,
          " differs from parallel.dp * parallel.cp = ", parallel.dp, " * ", parallel.cp, " = ", ranks, "; set it to ",
          ranks, ", or to 0 for ranks as processes");
  require(parallel.transport != "mpi", "parallel.transport = ", quoted_text(parallel.transport),
          " joins processes, but parallel.in_process_ranks = ", threads,
          " makes all ranks threads of one; set parallel.transport to \"auto\" or parallel.in_process_ranks to 0");
}

void validate_decay(const TrainConfig& train) {
  if (train.schedule != "wsd") {
    require(train.decay_steps == 0, "train.decay_steps = ", train.decay_steps, " is of train.schedule = \"wsd\", but ",
            "train.schedule = ", quoted_text(train.schedule),
            "; set train.schedule to \"wsd\" or train.decay_steps to 0");
    return;
  }
  const int64_t room = train.steps - train.warmup_steps;
  require(room > 0,
          "train.schedule = \"wsd\" needs steps behind the warm-up to decay in, but train.steps = ", train.steps,
          " and train.warmup_steps = ", train.warmup_steps, "; set train.warmup_steps below ", train.steps,
          " or train.steps above ", train.warmup_steps);
  require(train.decay_steps > 0, "train.schedule = \"wsd\" needs train.decay_steps, the number of last steps over ",
          "which the learning rate falls; set it from 1 to ", room, " (train.steps - train.warmup_steps), for example ",
          std::max<int64_t>(room / 5, 1));
  require(train.decay_steps <= room, "train.decay_steps = ", train.decay_steps, " is more than the ", room,
          " steps behind the warm-up (train.steps - train.warmup_steps = ", train.steps, " - ", train.warmup_steps,
          "); set it to at most ", room);
}

void validate_train(const TrainConfig& train) {
  require(train.min_learning_rate <= train.learning_rate,
          "train.min_learning_rate = ", double_text(train.min_learning_rate),
          " is above train.learning_rate = ", double_text(train.learning_rate), "; set it lower, for example to ",
          fmt::format("{:g}", train.learning_rate / 10));
  validate_decay(train);
}

}  // namespace

bool reads_text(const DataConfig& data) {
  return data.format == "text" || data.format == "jsonl" || (data.format == "auto" && !data.path.ends_with(".bin"));
}

std::vector<ConfigField> config_fields(Config& config) {
  Fields all;
  for (Fields& section : std::vector<Fields>{run_fields(config.run), model_fields(config.model),
                                             data_fields(config.data), parallel_fields(config.parallel),
                                             train_fields(config.train), checkpoint_fields(config.checkpoint)})
    all.insert(all.end(), section.begin(), section.end());
  return all;
}

bool is_control(char c) { return (0 <= c && c < ' ') || c == '\x7f'; }

const std::vector<TwoWays>& two_ways() {
  static const std::vector<TwoWays> kTwoWays = {{"data.global_batch", "data.global_batch_tokens"},
                                                {"train.steps", "train.tokens"}};
  return kTwoWays;
}

std::string quoted_text(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (is_control(c)) {
      quoted += fmt::format("\\u{:04X}", int{c});
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string list_text(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

std::string printable_text(std::string_view text) {
  size_t size = std::min(text.size(), kMostShown);
  while (size > 0 && size < text.size() && (text[size] & 0xC0) == 0x80) --size;  // never inside a UTF-8 sequence
  std::string shown(text.substr(0, size));
  std::replace_if(shown.begin(), shown.end(), is_control, ' ');
  return size < text.size() ? shown + "..." : shown;
}

std::string value_text(const ConfigField& field) {
  if (const auto* integer = std::get_if<int64_t*>(&field.value)) return std::to_string(**integer);
  if (const auto* number = std::get_if<double*>(&field.value)) return double_text(**number);
  if (const auto* flag = std::get_if<bool*>(&field.value)) return **flag ? "true" : "false";
  return quoted_text(*std::get<std::string*>(field.value));
}

std::string allowed_text(const ConfigField& field) {
  if (std::holds_alternative<int64_t*>(field.value)) return concat(int64_t(field.least), " to ", int64_t(field.most));
  if (std::holds_alternative<double*>(field.value)) return fmt::format("{} to {}", field.least, field.most);
  if (std::holds_alternative<bool*>(field.value)) return "true or false";
  return field.choices.empty() ? "any" : list_text(field.choices);
}

std::string value_problem(const ConfigField& field) {
  const std::string fact = field.name() + " = " + printable_text(value_text(field));
  const auto* number = std::get_if<double*>(&field.value);
  if (number && !std::isfinite(**number)) return fact + " is not finite; it must be from " + allowed_text(field);
  if (!in_bounds(field)) return fact + " is out of range; it must be from " + allowed_text(field);
  const auto* text = std::get_if<std::string*>(&field.value);
  if (!text) return "";
  if ((*text)->find('\0') != std::string::npos)
    return fact + " holds a NUL character, which ends every name; remove it";
  if (field.choices.empty() && (*text)->size() > kMostTextBytes)
    return fact + concat(" has ", (*text)->size(), " bytes, more than the ", kMostTextBytes,
                         " that a path may have; shorten it");
  if (field.choices.empty() || std::count(field.choices.begin(), field.choices.end(), **text) > 0) return "";
  const std::string near = nearest(**text, field.choices);
  return fact + " is not one of " + list_text(field.choices) + (near.empty() ? "" : "; did you mean \"" + near + "\"?");
}

void complete_and_validate(Config& config) {
  for (const ConfigField& field : config_fields(config)) {
    const std::string problem = value_problem(field);
    require(problem.empty(), problem);
  }
  validate_run(config.run);
  complete_model(config.model);
  complete_batch(config.data);
  complete_steps(config.train, config.data);
  validate_data(config.data, config.model, config.train);
  validate_parallel(config.parallel);
  validate_train(config.train);
}

std::string config_reference() {
  Config defaults;
  std::string section, page =
                           "# Configuration\n\nGenerated by `annulus train --config-reference`; do not edit.\n\n"
                           "A run is described by one TOML file: `annulus train CONFIG.toml`. Keys that it leaves out "
                           "have their defaults.\n"
                           "An unknown key or a value that is not allowed is an error.\n\n"
                           "Any key can be overridden behind the file: `annulus train CONFIG.toml --train.steps=200 "
                           "--parallel.placement=striped`.\n"
                           "Strings need no quotes there; of two overrides for one key the last holds.\n";
  for (const ConfigField& field : config_fields(defaults)) {
    if (field.section != section) {
      page += "\n## [" + field.section + "]\n\n| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
      section = field.section;
    }
    page += "| `" + field.key + "` | " + type_of(field) + " | `" + value_text(field) + "` | " + allowed_text(field) +
            " | " + field.help + " |\n";
  }
  return page;
}

std::vector<std::string> differing_keys(const Config& a, const Config& b,
                                        const std::vector<std::string>& sections_or_keys) {
  Config copy_a = a, copy_b = b;
  const std::vector<ConfigField> of_a = config_fields(copy_a), of_b = config_fields(copy_b);
  const auto asked_for = [](const ConfigField& field, const std::string& name) {
    return name == field.section || name == field.name();
  };
  for (const std::string& name : sections_or_keys)
    invariant(std::any_of(of_a.begin(), of_a.end(), [&](const ConfigField& field) { return asked_for(field, name); }),
              "no config section or key is named ", name);
  std::vector<std::string> names;
  for (size_t i = 0; i < of_a.size(); ++i) {
    const bool asked = std::any_of(sections_or_keys.begin(), sections_or_keys.end(),
                                   [&](const std::string& name) { return asked_for(of_a[i], name); });
    if (asked && value_text(of_a[i]) != value_text(of_b[i])) names.push_back(of_a[i].name());
  }
  return names;
}

}  // namespace annulus
