#pragma once
// Text to tokens and back, without loss: the bytes of a text's tokens, one behind the other, are the text. No token
// stands for the beginning or end of a text.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/sentencepiece_model.h"

namespace annulus {

class Tokenizer {
 public:
  /// data.tokenizer: "bytes" (every byte is a token), or the path of a SentencePiece model. Throws UserError (65),
  /// which begins with `key`, where there is none at that path.
  explicit Tokenizer(const std::string& name, const std::string& key = "data.tokenizer");

  const std::string& name() const { return name_; }  // as given
  bool is_bytes() const { return !model_; }
  int64_t size() const { return is_bytes() ? 256 : model_->size(); }  // ids are 0 to size() - 1

  /// Appends the tokens of `text` to `tokens`. Returns how many bytes of it they stand for: fewer than all where the
  /// model has no token for what follows there. A model with tokens for single bytes has one for everything. Any thread
  /// may call it.
  size_t encode(std::string_view text, std::vector<int32_t>& tokens) const;

  /// The bytes that a token stands for; of a SentencePiece model some stand for none.
  std::string text_of(int32_t id) const {
    return is_bytes() ? std::string(1, static_cast<char>(id)) : model_->text_of(id);
  }
  int64_t bytes_of(int32_t id) const { return is_bytes() ? 1 : static_cast<int64_t>(model_->text_of(id).size()); }

  /// Whether it has a token for this byte by itself.
  bool has_byte(unsigned char byte) const { return is_bytes() || model_->byte_token(byte) >= 0; }

  /// What is in the model's file, and its XXH3-128; both empty for bytes.
  const std::string& file_content() const { return file_content_; }
  const std::string& digest() const { return digest_; }

 private:
  size_t encode_part(std::string_view part, bool plain, std::vector<int32_t>& tokens) const;
  bool encode_bytes(std::string_view bytes, std::vector<int32_t>& tokens) const;

  std::string name_, file_content_, digest_;
  std::unique_ptr<SentencePieceModel> model_;
};

}  // namespace annulus
