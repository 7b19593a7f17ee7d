#pragma once
// Text for messages and files: lists, quotes, and what somebody else wrote made harmless to show.
#include <string>
#include <string_view>
#include <vector>

namespace annulus {

/// `text` as a TOML string in double quotes.
std::string quoted_text(std::string_view text);

/// "a, b, c"
std::string list_text(const std::vector<std::string>& names);

/// The shortest text that reads back to the same bits; always looks like a floating-point number.
std::string double_text(double value);

/// Whether `c` is an ASCII control character: of those, text holds only tabs and ends of lines.
bool is_control(char c);

/// `text` for a message: on one line, harmless to a terminal, and cut where it is long.
std::string printable_text(std::string_view text);

}  // namespace annulus
