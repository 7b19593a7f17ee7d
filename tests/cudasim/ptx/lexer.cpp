#include "tests/cudasim/ptx/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "tests/cudasim/ptx/fault.h"

namespace annulus::cudasim {
namespace {

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
bool starts_word(char c) { return is_letter(c) || c == '_' || c == '$' || c == '%' || c == '.'; }

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    for (skip_blank(); at_ < text_.size(); skip_blank()) tokens_.push_back(next());
    tokens_.push_back({Token::Kind::kEnd, "the end of the text", line_});
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void skip_to(size_t end) {
    end = std::min(end, text_.size());
    line_ += static_cast<int>(
        std::count(text_.begin() + static_cast<long>(at_), text_.begin() + static_cast<long>(end), '\n'));
    at_ = end;
  }

  void skip_blank() {
    while (at_ < text_.size()) {
      if (std::isspace(static_cast<unsigned char>(peek())) != 0)
        skip_to(at_ + 1);
      else if (text_.substr(at_, 2) == "//")
        skip_to(text_.find('\n', at_));
      else if (text_.substr(at_, 2) == "/*")
        skip_to(text_.find("*/", at_) + 2);
      else
        return;
    }
  }

  Token next() {
    const char first = peek();
    if (first == '"') return string();
    if (is_digit(first)) return take(Token::Kind::kNumber, number_length());
    if (starts_word(first)) return take(Token::Kind::kWord, word_length());
    if (std::string_view("{}[]()<>,;:+-@!|=*").find(first) == std::string_view::npos)
      throw PtxError(fmt::format("PTX line {}: '{}' is no character of PTX", line_, first));
    return take(Token::Kind::kMark, 1);
  }

  Token take(Token::Kind kind, size_t length) {
    const Token token{kind, text_.substr(at_, length), line_};
    at_ += length;
    return token;
  }

  Token string() {
    const size_t end = text_.find('"', at_ + 1);
    if (end == std::string_view::npos) throw PtxError(fmt::format("PTX line {}: a string without an end", line_));
    Token token = take(Token::Kind::kString, end + 1 - at_);
    token.text = token.text.substr(1, token.text.size() - 2);
    return token;
  }

  size_t number_length() const {
    size_t length = 0;
    while (is_digit(peek(length)) || is_letter(peek(length)) || peek(length) == '.') ++length;
    return length;
  }

  // A pair of colons belongs to a modifier (.L2::128B), one colon ends a label.
  size_t word_length() const {
    size_t length = 1;
    for (;; ++length) {
      const char c = peek(length);
      if (c == ':' && peek(length + 1) == ':')
        ++length;
      else if (!starts_word(c) && !is_digit(c))
        return length;
      else if (c == '%')
        return length;
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> split_ptx(std::string_view text) { return Lexer(text).run(); }

}  // namespace annulus::cudasim
