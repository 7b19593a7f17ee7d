#include "runtime/sentencepiece_model.h"

#include <sentencepiece_processor.h>

#include <cmath>
#include <optional>

#include "runtime/core/error.h"
#include "runtime/text.h"

namespace annulus {
namespace {

// A .model is one message of Protocol Buffers: fields, each a tag (8 * number + wire type) and a value.
constexpr uint64_t kLengthDelimited = 2;
constexpr uint64_t kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3;

// Of two NormalizerSpecs one behind the other the fields of the later hold: no map of characters (2), no blank in front
// (3), no blank taken away (4); blanks are U+2581 inside (5).
constexpr std::string_view kNoNormalization("\x1a\x08\x12\x00\x18\x00\x20\x00\x28\x01", 10);

std::optional<uint64_t> take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

// All fields of a model are messages. The library itself takes a file that was cut off behind any of them, and zeros,
// for a model with what it has read so far.
void require_whole(std::string_view bytes) {
  bool has_pieces = false, has_trainer = false, has_normalizer = false;
  const size_t size = bytes.size();
  while (!bytes.empty()) {
    const size_t at = size - bytes.size();
    const auto tag = take_varint(bytes);
    require(ExitCode::kData, tag && *tag >> 3 > 0 && (*tag & 7) == kLengthDelimited, "byte ", at,
            " begins no field of one");
    const auto length = take_varint(bytes);
    require(ExitCode::kData, length && *length <= bytes.size(), "it was cut off in the field at byte ", at);
    bytes.remove_prefix(*length);
    has_pieces |= *tag >> 3 == kPieces;
    has_trainer |= *tag >> 3 == kTrainerSpec;
    has_normalizer |= *tag >> 3 == kNormalizerSpec;
  }
  require(ExitCode::kData, has_pieces, "there are no pieces in it");
  require(ExitCode::kData, has_trainer && has_normalizer, "it was cut off behind its pieces");
}

// A piece writes its blanks as U+2581.
std::string with_blanks(std::string piece) {
  constexpr std::string_view kBlank = "\xE2\x96\x81";
  for (size_t at = 0; (at = piece.find(kBlank, at)) != std::string::npos; ++at) piece.replace(at, kBlank.size(), " ");
  return piece;
}

// What the library says against a model; "" where it takes it. What it asks others for throws.
std::string load_problem(sentencepiece::SentencePieceProcessor& processor, const std::string& bytes) {
  try {
    const auto status = processor.LoadFromSerializedProto(bytes);
    return status.ok() ? "" : status.ToString();
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

SentencePieceModel::SentencePieceModel(std::string_view bytes)
    : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()), byte_tokens_(256, -1) {
  require_whole(bytes);
  const std::string problem = load_problem(*processor_, concat(bytes, kNoNormalization));
  require(ExitCode::kData, problem.empty(), "SentencePiece says ", printable_text(problem));
  const int size = processor_->GetPieceSize();
  for (int id = 0; id < size; ++id) {
    require(ExitCode::kData, std::isfinite(processor_->GetScore(id)), "the score of piece ", id, " is not finite");
    const std::string& piece = processor_->IdToPiece(id);
    if (processor_->IsByte(id)) {
      const auto byte = static_cast<unsigned char>(std::stoi(piece.substr(3, 2), nullptr, 16));  // "<0x0A>"
      byte_tokens_[byte] = id;
      texts_.emplace_back(1, static_cast<char>(byte));
    } else {
      const bool has_text = !processor_->IsUnknown(id) && !processor_->IsControl(id);
      texts_.push_back(has_text ? with_blanks(piece) : "");
    }
  }
}

SentencePieceModel::~SentencePieceModel() = default;

std::vector<int> SentencePieceModel::encode(std::string_view plain) const {
  std::vector<int> ids;
  return processor_->Encode(plain, &ids).ok() ? ids : std::vector<int>();
}

}  // namespace annulus
