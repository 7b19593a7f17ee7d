#include "runtime/stretches.h"

#include <algorithm>

namespace annulus {
namespace {

constexpr size_t kMostBytes = size_t{1} << 14;  // of a stretch; the trainer of SentencePiece counts in 16 bits
constexpr std::string_view kBlankOfSentencePiece = "\xE2\x96\x81";

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

size_t stretch_end(std::string_view text, size_t begin) {
  const std::string_view most = text.substr(begin, kMostBytes);
  const size_t line_end = most.find('\n');
  if (line_end != std::string_view::npos) return begin + std::min(most.find_first_not_of('\n', line_end), most.size());
  if (begin + most.size() == text.size()) return text.size();
  const size_t blank = most.rfind(' ');
  if (blank != std::string_view::npos && blank > 0) return begin + blank;
  size_t end = most.size();
  while (end > most.size() - 4 && continues(text[begin + end])) --end;
  return begin + end;
}

size_t character_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if (!continues(text[i])) return 0;
  // Too long for its number, a surrogate, or above U+10FFFF.
  const bool wrong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
                     (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F);
  return wrong ? 0 : length;
}

size_t plain_length(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && text[at] != '\0' && !text.substr(at).starts_with(kBlankOfSentencePiece)) {
    const size_t length = character_length(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

}  // namespace annulus
