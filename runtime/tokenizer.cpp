#include "runtime/tokenizer.h"

#include <algorithm>

#include "runtime/core/error.h"
#include "runtime/digest.h"
#include "runtime/mapped_file.h"
#include "runtime/stretches.h"

namespace annulus {

Tokenizer::Tokenizer(const std::string& name, const std::string& key) : name_(name) {
  if (name == "bytes") return;
  const MappedFile file(name, key);
  const std::string_view content(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  try {
    model_ = std::make_unique<SentencePieceModel>(content);
  } catch (const UserError& error) {
    fail(error.code(), key, ": '", name, "' is no SentencePiece model, or a damaged one: ", error.what(),
         "; copy it again, or make one with annulus tokenizer train");
  }
  file_content_ = content;
  digest_ = digest_of(file_content_);
}

size_t Tokenizer::encode(std::string_view text, std::vector<int32_t>& tokens) const {
  if (is_bytes()) {
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return text.size();
  }
  for (size_t at = 0; at < text.size();) {
    for (const size_t end = stretch_end(text, at); at < end;) {
      const std::string_view rest = text.substr(at, end - at);
      const size_t plain = plain_length(rest);
      // What is not plain goes byte by byte; of U+2581 the second and third are no character either.
      const std::string_view part = rest.substr(0, std::max<size_t>(plain, 1));
      const size_t encoded = encode_part(part, plain > 0, tokens);
      at += encoded;
      if (encoded < part.size()) return at;
    }
  }
  return text.size();
}

// Appends the tokens of all of it, or none; returns how many bytes of it have some.
size_t Tokenizer::encode_part(std::string_view part, bool plain, std::vector<int32_t>& tokens) const {
  size_t encoded = 0;
  if (plain) {
    const std::vector<int> ids = model_->encode(part);
    for (const int id : ids) {
      const std::string& text = model_->text_of(id);
      if (text.empty() || !part.substr(encoded).starts_with(text)) break;
      encoded += text.size();
    }
    if (encoded == part.size()) {
      tokens.insert(tokens.end(), ids.begin(), ids.end());
      return encoded;
    }
  }
  return encode_bytes(part, tokens) ? part.size() : encoded;
}

bool Tokenizer::encode_bytes(std::string_view bytes, std::vector<int32_t>& tokens) const {
  const size_t before = tokens.size();
  for (const char c : bytes) tokens.push_back(model_->byte_token(static_cast<unsigned char>(c)));
  if (std::find(tokens.begin() + static_cast<std::ptrdiff_t>(before), tokens.end(), -1) == tokens.end()) return true;
  tokens.resize(before);
  return false;
}

}  // namespace annulus
