#include "runtime/text_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/core/error.h"
#include "runtime/digest.h"
#include "runtime/mapped_file.h"

namespace annulus {
namespace {

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TextFile open_plain(const std::string& path, const std::string& key) {
  const auto file = std::make_shared<MappedFile>(path, key);
  return {file, text_of(*file), {0}, false};
}

TextFile open_jsonl(const std::string& path, const std::string& key) {
  const MappedFile file(path, key);
  const std::string_view all = text_of(file);
  const auto text = std::make_shared<std::string>();
  std::vector<int64_t> starts;
  int64_t line_number = 0;
  for (size_t at = 0; at < all.size();) {
    const size_t end = std::min(all.find('\n', at), all.size());
    const std::string_view line = all.substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const auto object = nlohmann::json::parse(line, nullptr, false);
    const bool good = object.is_object() && object.contains("text") && object["text"].is_string();
    require(ExitCode::kData, good, key, ": '", path, "' line ", line_number,
            " is not a JSON object with a string \"text\"; each line must be one, like {\"text\": \"...\"}");
    const auto& document = object["text"].get_ref<const std::string&>();
    if (document.empty()) continue;
    starts.push_back(static_cast<int64_t>(text->size()));
    *text += document;
  }
  if (starts.empty()) starts.push_back(0);
  text->shrink_to_fit();
  return {text, *text, std::move(starts), true};
}

}  // namespace

TextFile open_text_file(const std::string& path, const std::string& format, const std::string& key) {
  invariant(format == "text" || format == "jsonl", "'", format, "' is no format of text");
  return format == "text" ? open_plain(path, key) : open_jsonl(path, key);
}

std::string digest_of_documents(std::span<const std::byte> bytes, std::span<const int64_t> document_starts) {
  constexpr size_t kParts = 64, kPartBytes = size_t{1} << 20;
  std::string text = concat(bytes.size(), " bytes\n");
  if (document_starts.size() > 1) text += digest_of(std::as_bytes(document_starts));
  if (bytes.size() <= kParts * kPartBytes)
    text += digest_of(bytes);
  else
    for (size_t part = 0; part < kParts; ++part)
      text += digest_of(bytes.subspan(part * (bytes.size() - kPartBytes) / (kParts - 1), kPartBytes));
  return digest_of(text);
}

}  // namespace annulus
