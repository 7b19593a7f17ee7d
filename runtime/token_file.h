#pragma once
// The tokens of a file, in the width they are stored in, and where its documents begin. Formats:
//   text      any file, all of it one document (runtime/text_file.h); every byte is a token
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
  /// ascending, the first is 0. `in_memory`: the tokens are in this process's memory, not mapped from a file.
  TokenFile(std::shared_ptr<const void> owner, const void* data, int width, int64_t count,
            std::vector<int64_t> document_starts, bool in_memory = false);

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
  /// What it holds in memory; 0 for one document that is mapped from a file.
  int64_t memory_bytes() const {
    const size_t starts = document_starts_.size() > 1 ? document_starts_.size() * sizeof(int64_t) : 0;
    return (in_memory_ ? count_ * width_ : 0) + static_cast<int64_t>(starts);
  }

 private:
  std::shared_ptr<const void> owner_;
  const void* data_;
  int width_;
  int64_t count_;
  std::vector<int64_t> document_starts_;
  bool in_memory_;
};

/// data.format, where that is "auto" by the file's name: NAME.jsonl, NAME.bin (megatron where NAME.idx is there too,
/// else tokens), anything else is text.
std::string format_of(const DataConfig& config);

/// Throws UserError (65) naming the file, where in it, and what to mend.
TokenFile open_token_file(const DataConfig& config);

}  // namespace annulus
