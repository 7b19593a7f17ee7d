#include "runtime/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace annulus {
namespace {

constexpr size_t kMostShown = 160;  // bytes of somebody's text in a message

}  // namespace

bool is_control(char c) { return (0 <= c && c < ' ') || c == '\x7f'; }

std::string quoted_text(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (is_control(c)) {
      quoted += fmt::format("\\u{:04X}", int{c});
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string list_text(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

std::string printable_text(std::string_view text) {
  size_t size = std::min(text.size(), kMostShown);
  while (size > 0 && size < text.size() && (text[size] & 0xC0) == 0x80) --size;  // never inside a UTF-8 sequence
  std::string shown(text.substr(0, size));
  std::replace_if(shown.begin(), shown.end(), is_control, ' ');
  return size < text.size() ? shown + "..." : shown;
}

std::string double_text(double value) {
  std::string text = fmt::format("{}", value);
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace annulus
