// annulus sample: text from a trained model, one token after another. Each token runs the whole text so far through the
// very forward pass of training, so that what is sampled is what was trained.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <numeric>

#include "comm/agree.h"
#include "comm/choose_transport.h"
#include "kernels/cpu/isa.h"
#include "launch/commands.h"
#include "launch/rank_env.h"
#include "runtime/config_file.h"
#include "runtime/planned_rank.h"
#include "runtime/run_directory.h"
#include "runtime/trainer.h"

namespace annulus {
namespace {

// A model alone: its weights from a checkpoint, and the memory to run `context` tokens through it.
class Sampler {
 public:
  Sampler(const std::string& checkpoint, const Config& config, Group& world)
      : config_(config),
        world_(world),
        parameters_(model_dtype(config)),
        model_(transformer_shape(config), parameters_) {
    parameters_.allocate();
    std::vector<TensorRows> wanted;
    for (const ParameterRows& rows : parameters_.owned_rows({0, parameters_.flat_elements()})) {
      const Parameter& p = parameters_.parameters()[static_cast<size_t>(rows.parameter)];
      const TensorView weight = parameters_.weight(rows.parameter);
      wanted.push_back({"/model/" + p.name, p.shape, 0, p.rows(), weight.raw(), weight.dtype()});
    }
    load_checkpoint(checkpoint, wanted, world);
  }

  /// Logits of the token that follows `text` (at most the training length of it counts).
  std::vector<float> logits_after(std::span<const int32_t> text) {
    const auto length = static_cast<int64_t>(text.size());
    SequenceLayout layout(length, 1, "contiguous", config_.model.rope_base, model_, world_);
    layout.prepare();
    const auto transport = choose_transport("auto", layout.transport_sizes(), world_);
    std::vector<float> logits(static_cast<size_t>(config_.model.vocab));
    Arena tokens("tokens"), activations("activations"), scratch("scratch");
    for (const bool measure : {true, false}) {
      if (!measure)
        for (Arena* arena : {&tokens, &activations, &scratch}) arena->commit();
      Workspace workspace = {activations, scratch, measure ? nullptr : transport.get()};
      const Arena::Scope scope(tokens);
      const Batch batch = batch_of_tokens(layout, text, tokens);
      const Device device = measure ? Device::kShape : Device::kCpu;
      model_.next_token_logits(TensorView(logits.data(), Dtype::kF32, {1, config_.model.vocab}, device), batch,
                               length - 1, workspace);
      activations.reset();
    }
    return logits;
  }

 private:
  Config config_;
  Group& world_;
  ParameterStore parameters_;
  Transformer model_;
};

// The tokenizer of a run: the copy in its directory, or where a checkpoint lies alone the file that the config names.
Tokenizer tokenizer_of(const std::string& checkpoint, const Config& config, const std::string& digest) {
  namespace fs = std::filesystem;
  std::error_code none;
  const std::string& given = config.data.tokenizer;
  const fs::path copy = fs::absolute(checkpoint, none).parent_path().parent_path() / kTokenizerName;
  Tokenizer tokenizer(given == "bytes" || !fs::exists(copy, none) ? given : copy.string());
  require(ExitCode::kData, tokenizer.digest() == digest, "'", tokenizer.name(),
          "' is not the tokenizer that checkpoint '", checkpoint, "' was trained with; restore it");
  return tokenizer;
}

int32_t draw(const std::vector<float>& logits, const SampleOptions& options, const CounterRng& rng, int64_t index) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  if (options.temperature == 0.0) return order.front();
  if (options.top_k > 0 && options.top_k < static_cast<int64_t>(order.size()))
    order.resize(static_cast<size_t>(options.top_k));
  std::vector<double> weight;
  for (const int32_t token : order) {
    const double below = static_cast<double>(logits[static_cast<size_t>(token)]) -
                         static_cast<double>(logits[static_cast<size_t>(order.front())]);
    weight.push_back(std::exp(below / options.temperature));
  }
  double left = rng.uniform(static_cast<uint64_t>(index)) * std::accumulate(weight.begin(), weight.end(), 0.0);
  for (size_t i = 0; i < order.size(); ++i)
    if ((left -= weight[i]) < 0.0) return order[i];
  return order.back();
}

}  // namespace

void sample(const SampleOptions& options, Group& processes) {
  agree(processes, [&] {
    require(processes.size() == 1, "sample runs on one rank, but ", processes.size(),
            " were started; start it without a launcher");
    require(!options.prompt.empty(), "--prompt is empty: give at least one character to go on from");
    cpu::choose_isa(options.isa);
  });
  share_of_node(processes, options.threads);
  const std::string checkpoint = find_checkpoint(options.checkpoint);
  const RunState state = read_run_state(checkpoint);
  const Config config = parse_config(state.config_text, checkpoint);
  require(reads_text(config.data), "the model in '", checkpoint, "' was trained on token ids ('", config.data.path,
          "'), for which sample has no text; it writes what models of text have learnt");
  const Tokenizer tokenizer = tokenizer_of(checkpoint, config, state.tokenizer_digest);
  std::vector<int32_t> text;
  const size_t read = tokenizer.encode(options.prompt, text);
  require(read == options.prompt.size(), "--prompt: the tokenizer '", tokenizer.name(),
          "' has no token for what stands at byte ", read, "; leave it out");
  Sampler sampler(checkpoint, config, processes);
  const CounterRng rng(static_cast<uint64_t>(options.seed), "sample");
  std::cout << options.prompt << std::flush;
  for (int64_t i = 0; i < options.length; ++i) {
    const size_t context = std::min(text.size(), static_cast<size_t>(config.data.sequence_length));
    std::vector<float> logits = sampler.logits_after(std::span(text).last(context));
    logits.resize(static_cast<size_t>(tokenizer.size()));  // what model.vocab has beyond it is never in a text
    const int32_t token = draw(logits, options, rng, i);
    text.push_back(token);
    std::cout << tokenizer.text_of(token) << std::flush;
  }
  std::cout << "\n";
}

}  // namespace annulus
