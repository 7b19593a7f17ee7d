#include "runtime/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/config_fields.h"
#include "runtime/config_limits.h"
#include "runtime/core/capabilities.h"
#include "runtime/core/error.h"
#include "runtime/text.h"

namespace annulus {
namespace {

using namespace config_limits;

constexpr int64_t kMostTokensAtOnce = int64_t{1} << 36;  // of a micro-batch: no tensor of it has 2^63 bytes
constexpr int64_t kMostTokens = int64_t{1} << 62;        // of a whole run: token counts stay in 64 bits
constexpr int64_t kHeadDimStep = 8;                      // what the attention kernels are built for
constexpr int64_t kFfnStep = 64;                         // whole vectors and cache lines in every matrix product
constexpr int64_t kByteValues = 256;
constexpr size_t kMostNameBytes = 200;  // file systems stop at 255, and temporary names add to it

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
  data.batch_in_tokens = true;
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
  require(data.end_of_document < 0 || data.format != "megatron", "data.end_of_document = ", data.end_of_document,
          " ends documents of data.format = \"tokens\", but a Megatron index says where documents end; leave it at -1");
  require(data.tokenizer == "bytes" || data.tokenizer.ends_with(".model"),
          "data.tokenizer = ", printable_text(quoted_text(data.tokenizer)),
          " is neither \"bytes\" nor the path of a SentencePiece model; name a file NAME.model");
  const std::string format = data.format != "auto" ? data.format : is_text ? "text" : "tokens";
  require_supported(Command::kTrain,
                    {{"data", format}, {"tokenizer", data.tokenizer == "bytes" ? "bytes" : "sentencepiece"}});
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
  require_supported(Command::kTrain, {{"transport", parallel.transport}, {"ranks", "threads"}});
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
