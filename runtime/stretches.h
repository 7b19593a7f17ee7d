#pragma once
// Text cut into stretches, each of which becomes tokens by itself. Where the cuts are follows from the text alone, so
// that tokens do not depend on how many ranks or threads make them.
#include <cstddef>
#include <string_view>

namespace annulus {

/// The end of the stretch of `text` that begins at `begin`: behind the next run of line ends. A line of more than 16
/// KiB is cut before a blank, or where it has none between two characters.
size_t stretch_end(std::string_view text, size_t begin);

/// Bytes of the UTF-8 character that `text` begins with; 0 where that is none.
size_t character_length(std::string_view text);

/// Bytes at the beginning of `text` that SentencePiece takes as they are: UTF-8 without NUL, and without U+2581, which
/// it takes for a blank.
size_t plain_length(std::string_view text);

}  // namespace annulus
