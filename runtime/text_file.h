#pragma once
// A file of text, whatever the tokens will be. Formats:
//   text      any file, all of it one document
//   jsonl     a JSON object a line, whose "text" is a document
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annulus {

struct TextFile {
  std::shared_ptr<const void> owner;     // keeps what `text` shows
  std::string_view text;                 // all documents, one behind the other
  std::vector<int64_t> document_starts;  // in bytes; ascending, the first is 0
  bool in_memory = false;                // rather than mapped from the file
};

/// `format`: "text" or "jsonl". Throws UserError (65) that begins with `key` and names the file, where in it, and what
/// to mend.
TextFile open_text_file(const std::string& path, const std::string& format, const std::string& key);

/// Tells one text from another: XXH3-128 of its size, its documents, and of 64 MiB spread evenly over it (all of it,
/// where it is smaller).
std::string digest_of_documents(std::span<const std::byte> bytes, std::span<const int64_t> document_starts);

}  // namespace annulus
