#include "runtime/token_file.h"

#include <cstring>
#include <filesystem>

#include "runtime/core/error.h"
#include "runtime/mapped_file.h"
#include "runtime/text_file.h"

namespace annulus {
namespace {

constexpr const char* kKey = "data.path";

// A number of `T` at byte `at` of a file, wherever that is aligned.
template <class T>
T number_at(std::span<const std::byte> bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// Every byte of a text is a token.
TokenFile open_text(const std::string& path, const std::string& format) {
  TextFile file = open_text_file(path, format, kKey);
  return {file.owner,    file.text.data(), 1, static_cast<int64_t>(file.text.size()), std::move(file.document_starts),
          file.in_memory};
}

// Documents that end with `end_of_document`; all is one where that is negative.
std::vector<int64_t> starts_behind(const uint16_t* tokens, int64_t count, int64_t end_of_document) {
  std::vector<int64_t> starts = {0};
  if (end_of_document >= 0)
    for (int64_t i = 0; i + 1 < count; ++i)
      if (tokens[i] == end_of_document) starts.push_back(i + 1);
  return starts;
}

TokenFile open_tokens(const std::string& path, int64_t end_of_document) {
  constexpr int32_t kMagic = 20240520, kVersion = 1;  // of llm.c, whose header is 256 numbers of 32 bits
  constexpr size_t kHeaderBytes = 1024;
  const auto file = std::make_shared<MappedFile>(path, kKey);
  const auto bytes = file->bytes();
  size_t begin = 0;
  if (bytes.size() >= kHeaderBytes && number_at<int32_t>(bytes, 0) == kMagic) {
    const auto version = number_at<int32_t>(bytes, 4), tokens = number_at<int32_t>(bytes, 8);
    require(ExitCode::kData, version == kVersion, kKey, ": '", path, "' has a header of version ", version,
            ", but this build reads version ", kVersion);
    begin = kHeaderBytes;
    require(ExitCode::kData, int64_t{tokens} * 2 == static_cast<int64_t>(bytes.size() - begin), kKey, ": '", path,
            "' says that it holds ", tokens, " tokens, but holds ", (bytes.size() - begin) / 2,
            "; it was cut off: copy it again");
  }
  require(ExitCode::kData, (bytes.size() - begin) % 2 == 0, kKey, ": '", path, "' has ", bytes.size(),
          " bytes, which are not uint16 tokens; another format is chosen with data.format");
  const auto* tokens = reinterpret_cast<const uint16_t*>(bytes.data() + begin);
  const auto count = static_cast<int64_t>((bytes.size() - begin) / 2);
  return {file, tokens, 2, count, starts_behind(tokens, count, end_of_document)};
}

// NAME.idx: "MMIDIDX\0\0", version 1 (8 bytes), element type (1 byte), number of sequences and of document ends (8
// bytes each), then the lengths of the sequences (int32), where each begins in NAME.bin in bytes (int64), and the first
// sequence of each document (int64).
TokenFile open_megatron(const std::string& path) {
  constexpr size_t kHeaderBytes = 34;
  const std::string index_path = std::filesystem::path(path).replace_extension(".idx").string();
  const auto file = std::make_shared<MappedFile>(path, kKey);
  const MappedFile index(index_path, kKey);
  const auto bytes = index.bytes();
  auto good = [&](bool ok, const auto&... parts) {
    require(ExitCode::kData, ok, kKey, ": '", index_path, "' ", parts...);
  };
  good(bytes.size() >= kHeaderBytes && std::memcmp(bytes.data(), "MMIDIDX\0\0", 9) == 0,
       "is not the index of a Megatron dataset: it does not begin with MMIDIDX; make it with preprocess_data.py");
  good(number_at<uint64_t>(bytes, 9) == 1, "has version ", number_at<uint64_t>(bytes, 9), ", but this build reads 1");
  const int type = number_at<uint8_t>(bytes, 17);
  const int width = type == 1 ? 1 : type == 8 ? 2 : type == 4 ? 4 : 0;
  good(width > 0, "holds elements of type ", type, "; uint8 (1), uint16 (8) and int32 (4) can be read");
  const auto sequences = number_at<uint64_t>(bytes, 18), documents = number_at<uint64_t>(bytes, 26);
  const uint64_t room = bytes.size() - kHeaderBytes;
  good(sequences <= room / 12 && documents <= room / 8 && sequences * 12 + documents * 8 == room, "has ", bytes.size(),
       " bytes, which ", sequences, " sequences and ", documents, " document ends do not take; copy it again");
  const size_t lengths = kHeaderBytes, pointers = lengths + sequences * 4, ends = pointers + sequences * 8;
  std::vector<int64_t> first_token = {0};  // of each sequence, and behind the last
  for (uint64_t i = 0; i < sequences; ++i) {
    const auto length = number_at<int32_t>(bytes, lengths + i * 4);
    const auto pointer = number_at<int64_t>(bytes, pointers + i * 8);
    good(length >= 0 && pointer == first_token.back() * width, "says that sequence ", i, " of ", length,
         " tokens begins at byte ", pointer, ", expected ", first_token.back() * width,
         "; only sequences that follow each other can be read");
    first_token.push_back(first_token.back() + length);
  }
  good(first_token.back() * width == static_cast<int64_t>(file->bytes().size()), "describes ", first_token.back(),
       " tokens of ", width, " bytes, but '", path, "' has ", file->bytes().size(),
       " bytes; the two do not belong together");
  std::vector<int64_t> starts;
  for (uint64_t i = 0; i < documents; ++i) {
    const auto sequence = number_at<int64_t>(bytes, ends + i * 8);
    good(sequence >= 0 && static_cast<uint64_t>(sequence) <= sequences, "has document ", i, " begin at sequence ",
         sequence, " of ", sequences);
    const int64_t start = first_token[static_cast<size_t>(sequence)];
    good(starts.empty() || start >= starts.back(), "has its documents out of order at number ", i);
    if (start < first_token.back() && (starts.empty() || start > starts.back())) starts.push_back(start);
  }
  if (starts.empty() || starts.front() != 0) starts.insert(starts.begin(), 0);
  return {file, file->bytes().data(), width, first_token.back(), std::move(starts)};
}

}  // namespace

TokenFile::TokenFile(std::shared_ptr<const void> owner, const void* data, int width, int64_t count,
                     std::vector<int64_t> document_starts, bool in_memory)
    : owner_(std::move(owner)),
      data_(data),
      width_(width),
      count_(count),
      document_starts_(std::move(document_starts)),
      in_memory_(in_memory) {}

std::string format_of(const DataConfig& config) {
  if (config.format != "auto") return config.format;
  const std::filesystem::path path = config.path;
  if (path.extension() == ".jsonl") return "jsonl";
  if (path.extension() != ".bin") return "text";
  std::error_code none;
  return std::filesystem::exists(std::filesystem::path(path).replace_extension(".idx"), none) ? "megatron" : "tokens";
}

TokenFile open_token_file(const DataConfig& config) {
  const std::string format = format_of(config);
  if (format == "text" || format == "jsonl") return open_text(config.path, format);
  if (format == "tokens") return open_tokens(config.path, config.end_of_document);
  require(config.end_of_document < 0, "data.end_of_document = ", config.end_of_document, " ends documents of ",
          "data.format = \"tokens\", but beside '", config.path, "' lies a Megatron index, which says where they end; ",
          "leave it at -1, or set data.format");
  return open_megatron(config.path);
}

}  // namespace annulus
