#include "runtime/open_dataset.h"

#include "comm/agree.h"
#include "runtime/encoded_text.h"

namespace annulus {
namespace {

constexpr const char* kOneFile = "every rank must see the same file";

std::shared_ptr<const Tokenizer> open_tokenizer(const Config& config, const std::string& name, Group& world) {
  if (!reads_text(config.data)) return nullptr;
  auto tokenizer = agree(world, [&] {
    auto opened = std::make_shared<const Tokenizer>(name);
    require(ExitCode::kUsage, opened->size() <= config.model.vocab, "model.vocab = ", config.model.vocab,
            " is less than the ", opened->size(), " tokens of data.tokenizer = '", name, "'; set model.vocab to ",
            opened->size(), " or more");
    return opened;
  });
  require_same(ExitCode::kData, tokenizer->digest(), "the tokenizer '" + name + "'", kOneFile, world);
  return tokenizer;
}

TokenFile open_encoded_text(const DataConfig& data, const Tokenizer& tokenizer, Group& world) {
  const TextFile text = agree(world, [&] { return open_text_file(data.path, format_of(data), "data.path"); });
  // Before ranks encode parts of it for each other.
  require_same(ExitCode::kData, digest_of_documents(std::as_bytes(std::span(text.text)), text.document_starts),
               "the text '" + data.path + "'", kOneFile, world);
  return encode_text(text, tokenizer, data.path, world);
}

}  // namespace

std::unique_ptr<const Dataset> open_dataset(const Config& config, const std::string& tokenizer, Group& world) {
  const std::shared_ptr<const Tokenizer> opened = open_tokenizer(config, tokenizer, world);
  const bool encodes = opened && !opened->is_bytes();
  TokenFile file = encodes ? open_encoded_text(config.data, *opened, world)
                           : agree(world, [&] { return open_token_file(config.data); });
  auto data = agree(world, [&] { return std::make_unique<const Dataset>(config.data, std::move(file), opened); });
  require_same(ExitCode::kData, data->digest(), "the text '" + config.data.path + "'", kOneFile, world);
  return data;
}

}  // namespace annulus
