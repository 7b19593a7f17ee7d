#pragma once

#include <string_view>
#include <vector>

namespace annulus::cudasim {

struct Token {
  enum class Kind { kWord, kNumber, kString, kMark, kEnd };
  Kind kind = Kind::kEnd;
  std::string_view text;  // into the PTX text; of a string without its quotes
  int line = 0;
};

/// Splits PTX into words (with their dots: "ld.global.u32"), numbers, strings and single marks; the last token is kEnd.
/// Throws PtxError at a character that PTX does not have.
std::vector<Token> split_ptx(std::string_view text);

}  // namespace annulus::cudasim
