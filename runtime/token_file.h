#pragma once
// The tokens of a file, in the width they are stored in, and where its documents begin. Formats:
//   text      any file: every byte is a token, all of it one document
//   jsonl     a JSON object a line, whose "text" is a document; every byte of it is a token
//   tokens    uint16 ids one after the other (nanoGPT), or the same behind the header of llm.c; a document ends with
//             the id data.end_of_document
//   megatron  NAME.bin with the ids of all documents, and NAME.idx beside it
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/config.h"

namespace annulus {

class TokenFile {
 public:
  /// `width` bytes for each of `count` tokens at `data`, which `owner` keeps. Documents begin at `document_starts`:
  /// ascending, the first is 0.
  TokenFile(std::shared_ptr<const void> owner, const void* data, int width, int64_t count,
            std::vector<int64_t> document_starts);

  int64_t size() const { return count_; }
  int32_t token(int64_t index) const {
    if (width_ == 1) return static_cast<const uint8_t*>(data_)[index];
    if (width_ == 2) return static_cast<const uint16_t*>(data_)[index];
    return static_cast<const int32_t*>(data_)[index];
  }
  std::span<const int64_t> document_starts() const { return document_starts_; }
  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(data_), static_cast<size_t>(count_ * width_)};
  }

 private:
  std::shared_ptr<const void> owner_;
  const void* data_;
  int width_;
  int64_t count_;
  std::vector<int64_t> document_starts_;
};

/// data.format, where that is "auto" by the file's name: NAME.jsonl, NAME.bin (megatron where NAME.idx is there too,
/// else tokens), anything else is text.
std::string format_of(const DataConfig& config);

/// Throws UserError (65) naming the file, where in it, and what to mend.
TokenFile open_token_file(const DataConfig& config);

}  // namespace annulus
