#pragma once
// A model of SentencePiece as we use it: its pieces, and how it cuts text. Whatever normalisation the model asks for is
// switched off, so that text stays as it is.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace annulus {

class SentencePieceModel {
 public:
  /// `bytes`: what is in a .model file. Throws UserError (65) saying what is wrong with them.
  explicit SentencePieceModel(std::string_view bytes);
  ~SentencePieceModel();

  int64_t size() const { return static_cast<int64_t>(texts_.size()); }

  /// What a token stands for: for some a single byte that is no character by itself; for <unk> and control symbols
  /// nothing.
  const std::string& text_of(int32_t id) const { return texts_[static_cast<size_t>(id)]; }

  /// The token of a single byte; -1 where there is none.
  int32_t byte_token(unsigned char byte) const { return byte_tokens_[byte]; }

  /// The tokens of `plain`, a text whose plain_length() is all of it; none where the library gives up. Any thread may
  /// call it.
  std::vector<int> encode(std::string_view plain) const;

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::vector<std::string> texts_;
  std::vector<int32_t> byte_tokens_;
};

}  // namespace annulus
