#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cudasim/ptx/lexer.h"

namespace annulus::cudasim {

/// Walks over tokens; every complaint names the line and what stands there.
class TokenReader {
 public:
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  bool at_end() const { return peek().kind == Token::Kind::kEnd; }
  bool is(std::string_view text, size_t ahead = 0) const { return peek(ahead).text == text && !at_end(); }
  bool is_word(size_t ahead = 0) const { return peek(ahead).kind == Token::Kind::kWord; }
  bool is_directive() const { return is_word() && peek().text[0] == '.'; }

  Token take();
  bool take_if(std::string_view text);  // true if it stood there
  void expect(std::string_view text);
  std::string word(std::string_view what);
  uint64_t integer();  // with an optional minus sign
  void skip_past(std::string_view mark);
  void skip_braces();  // from "{" past its "}"
  [[noreturn]] void fail(const std::string& complaint) const;

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

/// 12, 0x1F, 017, 0b1, each with an optional U.
uint64_t integer_of(std::string_view digits, const TokenReader& place);

}  // namespace annulus::cudasim
