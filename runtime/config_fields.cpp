#include "runtime/config_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runtime/config_limits.h"
#include "runtime/core/capabilities.h"
#include "runtime/core/error.h"
#include "runtime/nearest.h"
#include "runtime/text.h"

namespace annulus {
namespace {

using namespace config_limits;

constexpr double kTwoTo62 = 4611686018427387904.0;  // a bound is a double; 2^63 - 1 is not one
constexpr double kTwoTo31 = 2147483648.0;           // the pairs of a sequence, about its square, stay in 64 bits
constexpr double kMostBeta = 0.999999;              // a beta that is 1 in fp32 makes 1 - beta^step zero
constexpr double kLeastEpsilon = 1e-30;             // zero, in fp32 too, would make 0 / 0 of a zero gradient
constexpr size_t kMostTextBytes = 4096;             // no path may be longer

using Fields = std::vector<ConfigField>;

// What the capability table supports, behind `first`.
std::vector<std::string> choices_of(const std::string& axis, std::vector<std::string> first = {}) {
  const std::vector<std::string> supported = supported_values(axis, Command::kTrain);
  first.insert(first.end(), supported.begin(), supported.end());
  return first;
}

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
      {"model", "vocab",
       "Token ids the model knows, 0 to vocab - 1; at least as many as the tokenizer has (bytes: 256).", &model.vocab,
       2, kMostTokenId},
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
      {"data", "format",
       "text: one document; jsonl: one in each line's \"text\"; tokens: uint16 ids (nanoGPT, llm.c); megatron: .bin "
       "and "
       ".idx; auto: by the file's name.",
       &data.format, 0, 0, choices_of("data", {"auto"})},
      {"data", "tokenizer",
       "How text becomes tokens; bytes: every byte is one; else the path of a SentencePiece model, NAME.model (annulus "
       "tokenizer train makes one).",
       &data.tokenizer},
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
  return {
      {"parallel", "dp", "Data-parallel rings; dp * cp is the number of ranks. May exceed global_batch.", &parallel.dp,
       1, kMostRanks},
      {"parallel", "cp", "Ranks of one ring, among which each sequence is divided.", &parallel.cp, 1, kMostRanks},
      {"parallel", "placement", "Which tokens a rank holds; zigzag and striped give all ranks equal causal work.",
       &parallel.placement, 0, 0, choices_of("placement")},
      {"parallel", "transport", "What carries blocks between ranks; auto: the fastest that reaches all of them.",
       &parallel.transport, 0, 0, choices_of("transport")},
      {"parallel", "isa", "Instruction set of the CPU kernels; auto: the best this machine has.", &parallel.isa, 0, 0,
       choices_of("isa")},
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
       &train.schedule, 0, 0, choices_of("schedule")},
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
      {"train", "recompute",
       "What backward computes again to save memory: nothing, the MLP's activations, or all of a block but its "
       "attention.",
       &train.recompute, 0, 0, choices_of("recompute")},
      {"train", "dtype",
       "Numbers of weights, activations and what travels between ranks; with bf16 the weights' f32 masters, their "
       "gradients and all sums stay in f32.",
       &train.dtype, 0, 0, choices_of("dtype")},
      {"train", "validate_every", "Steps between two validations, and one at the end; 0: never.", &train.validate_every,
       0, kMostSteps},
      {"train", "log_every", "Steps between two lines on the terminal; metrics.jsonl has a line for every step.",
       &train.log_every, 1, kMostSteps},
      {"train", "trace_step",
       "Step that trace.json shows on every rank: this, or the last of a shorter run, or the third after a resume "
       "behind it; 0: none.",
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

}  // namespace

std::vector<ConfigField> config_fields(Config& config) {
  Fields all;
  for (Fields& section : std::vector<Fields>{run_fields(config.run), model_fields(config.model),
                                             data_fields(config.data), parallel_fields(config.parallel),
                                             train_fields(config.train), checkpoint_fields(config.checkpoint)})
    all.insert(all.end(), section.begin(), section.end());
  return all;
}

const std::vector<TwoWays>& two_ways() {
  static const std::vector<TwoWays> kTwoWays = {{"data.global_batch", "data.global_batch_tokens"},
                                                {"train.steps", "train.tokens"}};
  return kTwoWays;
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

}  // namespace annulus
