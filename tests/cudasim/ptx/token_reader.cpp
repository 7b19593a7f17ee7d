#include "tests/cudasim/ptx/token_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tests/cudasim/ptx/fault.h"

namespace annulus::cudasim {

Token TokenReader::take() {
  const Token token = peek();
  if (!at_end()) ++at_;
  return token;
}

bool TokenReader::take_if(std::string_view text) {
  if (!is(text)) return false;
  take();
  return true;
}

void TokenReader::expect(std::string_view text) {
  if (!take_if(text)) fail(fmt::format("expected '{}'", text));
}

std::string TokenReader::word(std::string_view what) {
  if (!is_word()) fail(fmt::format("expected {}", what));
  return std::string(take().text);
}

uint64_t TokenReader::integer() {
  const bool negative = take_if("-");
  if (peek().kind != Token::Kind::kNumber) fail("expected a number");
  const uint64_t value = integer_of(peek().text, *this);
  take();
  return negative ? 0 - value : value;
}

void TokenReader::skip_past(std::string_view mark) {
  while (!at_end())
    if (take().text == mark) return;
  fail(fmt::format("expected '{}'", mark));
}

void TokenReader::skip_braces() {
  expect("{");
  for (int depth = 1; depth > 0;) {
    if (at_end()) fail("expected '}'");
    const Token token = take();
    depth += token.text == "{" ? 1 : token.text == "}" ? -1 : 0;
  }
}

void TokenReader::fail(const std::string& complaint) const {
  throw PtxError(fmt::format("PTX line {}: {}, found '{}'", peek().line, complaint, peek().text));
}

uint64_t integer_of(std::string_view digits, const TokenReader& place) {
  if (digits.ends_with('U')) digits.remove_suffix(1);
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X"))
    base = 16;
  else if (digits.starts_with("0b") || digits.starts_with("0B"))
    base = 2;
  else if (digits.size() > 1 && digits[0] == '0')
    base = 8;
  const std::string_view plain = base == 16 || base == 2 ? digits.substr(2) : digits;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), value, base);
  if (error != std::errc() || end != plain.data() + plain.size()) place.fail("expected an integer");
  return value;
}

}  // namespace annulus::cudasim
