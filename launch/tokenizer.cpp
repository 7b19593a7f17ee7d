// annulus tokenizer: makes a SentencePiece model from a text, and shows what one does.
#include <fmt/format.h>

#include <filesystem>

#include "comm/agree.h"
#include "launch/commands.h"
#include "launch/output_path.h"
#include "runtime/core/log.h"
#include "runtime/run_directory.h"
#include "runtime/sentencepiece_train.h"
#include "runtime/stretches.h"
#include "runtime/text.h"
#include "runtime/token_file.h"
#include "runtime/tokenizer.h"

namespace annulus {
namespace {

void require_one_rank(const Group& processes) {
  require_alike(ExitCode::kUsage, processes.size() == 1, "tokenizer runs on one rank, but ", processes.size(),
                " were started; start it without a launcher");
}

// 'word', or <0x0A> for a byte that is no visible character by itself.
std::string shown(const std::string& bytes) {
  const bool is_byte = bytes.size() == 1 && (character_length(bytes) == 0 || is_control(bytes.front()));
  return is_byte ? fmt::format("<0x{:02X}>", static_cast<unsigned char>(bytes.front()))
                 : "'" + printable_text(bytes) + "'";
}

void show_tokens(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> tokens;
  const size_t encoded = tokenizer.encode(text, tokens);
  require(ExitCode::kData, encoded == text.size(), "--text: the tokenizer has no token for what stands at byte ",
          encoded, "; take one that falls back to bytes");
  log::inform(fmt::format("{} bytes are {} tokens, {:.2f} bytes each", text.size(), tokens.size(),
                          static_cast<double>(text.size()) / static_cast<double>(tokens.size())));
  for (const int32_t token : tokens) log::inform(fmt::format("  {:>8}  {}", token, shown(tokenizer.text_of(token))));
}

}  // namespace

void tokenizer_train(const TokenizerTrainOptions& options, Group& processes) {
  require_one_rank(processes);
  DataConfig data;
  data.path = options.text;
  data.format = options.format;
  const std::string format = format_of(data);
  require(reads_text(data), "'", options.text, "' holds token ids, by its name; a tokenizer is made from text: ",
          "give that, or say --format=text where it is one");
  require(options.model.ends_with(".model"), "'", options.model, "' does not end in .model, as data.tokenizer must; ",
          "name it ", options.model, ".model");
  std::error_code none;
  require(options.force || !std::filesystem::exists(options.model, none), "'", options.model,
          "' exists already; runs may be using it: choose another name, or replace it with --force");
  require_output_path(options.model, "OUT.model");
  const TextFile text = open_text_file(options.text, format, "TEXT");
  std::string model;
  try {
    model = train_sentencepiece(text, options.vocab, options.type);
  } catch (const UserError& error) {
    fail(error.code(), "'", options.text, "': ", error.what());
  }
  write_file(options.model, model);
  const Tokenizer made(options.model, "OUT.model");
  log::inform(fmt::format("{}: {} tokens, learnt from {} bytes in {} document{}", options.model, made.size(),
                          text.text.size(), text.document_starts.size(), text.document_starts.size() == 1 ? "" : "s"));
  log::inform(fmt::format("train with: --data.tokenizer={} --model.vocab={}", options.model, made.size()));
}

void tokenizer_show(const TokenizerShowOptions& options, Group& processes) {
  require_one_rank(processes);
  const Tokenizer tokenizer(options.model, "MODEL");
  int64_t single = 0, nothing = 0;
  std::string longest;
  for (int32_t id = 0; id < tokenizer.size(); ++id) {
    const std::string text = tokenizer.text_of(id);
    nothing += text.empty();
    if (text.size() > longest.size()) longest = text;
  }
  for (int byte = 0; byte < 256; ++byte) single += tokenizer.has_byte(static_cast<unsigned char>(byte));
  log::inform(fmt::format("{}: {} tokens", options.model, tokenizer.size()));
  log::inform(fmt::format("  single bytes       {}", single == 256 ? "all: every text can be encoded"
                                                                   : "not all: text with other characters is refused"));
  log::inform(fmt::format("  stand for nothing  {} (such as <unk>); they occur in no text", nothing));
  log::inform(fmt::format("  longest            {}", shown(longest)));
  log::inform(fmt::format("  XXH3-128           {}", tokenizer.digest()));
  if (!options.text.empty()) show_tokens(tokenizer, options.text);
}

}  // namespace annulus
