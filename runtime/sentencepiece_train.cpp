#include "runtime/sentencepiece_train.h"

#include <sentencepiece_trainer.h>

#include <unordered_map>

#include "runtime/core/error.h"
#include "runtime/stretches.h"
#include "runtime/text.h"

namespace annulus {
namespace {

// The library leaves out, with no error, a sentence that is too long, and one that holds U+2585, which it uses for
// unknown characters; tabs and NULs have a meaning of their own to it. So it is given what lies between these, in
// stretches.
class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(const TextFile& text) : text_(text) { Next(); }

  bool done() const override { return done_; }
  const std::string& value() const override { return sentence_; }
  sentencepiece::util::Status status() const override { return {}; }
  void Next() override {
    do {
      done_ = !next_part();
    } while (!done_ && sentence_.empty());
  }

 private:
  static constexpr std::string_view kUnknown = "\xE2\x96\x85";

  // Up to what no piece may hold, which is then skipped.
  bool next_part() {
    if (rest_.empty() && !next_stretch()) return false;
    const std::string_view plain = rest_.substr(0, plain_length(rest_));
    size_t end = std::min(plain.find(kUnknown), plain.size());
    for (size_t i = 0; i < end; ++i)
      if (is_control(plain[i])) end = i;
    sentence_ = plain.substr(0, end);
    rest_.remove_prefix(std::min(rest_.size(), end + std::max<size_t>(1, character_length(rest_.substr(end)))));
    return true;
  }

  bool next_stretch() {
    if (at_ == text_.text.size()) return false;
    while (document_ < text_.document_starts.size() && static_cast<size_t>(text_.document_starts[document_]) <= at_)
      ++document_;
    const size_t end = document_ < text_.document_starts.size() ? static_cast<size_t>(text_.document_starts[document_])
                                                                : text_.text.size();
    const size_t stop = stretch_end(text_.text.substr(0, end), at_);
    rest_ = text_.text.substr(at_, stop - at_);
    at_ = stop;
    return true;
  }

  const TextFile& text_;
  size_t at_ = 0, document_ = 0;  // where the next stretch begins; the document behind it
  std::string_view rest_;         // of a stretch
  std::string sentence_;
  bool done_ = false;
};

// The number behind `words`; "" where they are not there.
std::string number_behind(const std::string& message, const std::string& words) {
  const size_t at = message.find(words);
  if (at == std::string::npos) return "";
  const size_t begin = at + words.size();
  return message.substr(begin, message.find_first_not_of("0123456789", begin) - begin);
}

// What the library says of a wrong size, with our option and its mend.
[[noreturn]] void fail_for(int64_t vocab, const std::string& message) {
  const std::string most = number_behind(message, "value <= ");
  if (!most.empty())
    fail(ExitCode::kUsage, "--vocab=", vocab, " is more than the ", most, " tokens that this text has pieces for; ",
         "set it to at most ", most, ", or give a longer text");
  const std::string least = number_behind(message, " vs ");
  if (!least.empty())
    fail(ExitCode::kUsage, "--vocab=", vocab, " is less than the ", least,
         " tokens that single bytes and the characters of this text take; set it to ", least, " or more");
  fail(ExitCode::kUsage, "--vocab=", vocab, " does not fit this text: SentencePiece says ",
       printable_text(message.substr(message.rfind("] ") == std::string::npos ? 0 : message.rfind("] ") + 2)));
}

}  // namespace

std::string train_sentencepiece(const TextFile& text, int64_t vocab, const std::string& type) {
  Sentences sentences(text);
  require(ExitCode::kData, !sentences.done(), "there is no text to learn from in it");
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", type},
      {"vocab_size", std::to_string(vocab)},
      {"normalization_rule_name", "identity"},  // text stays as it is ...
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"byte_fallback", "true"},  // ... and all of it can be written
      {"unk_id", "0"},            // which the library wants; the others stand for nothing in a text
      {"bos_id", "-1"},
      {"eos_id", "-1"},
      {"pad_id", "-1"},
      {"max_sentence_length", "65535"},
      {"num_threads", "4"},  // sums are added by thread: not as many as this machine has, which would change their bits
      {"minloglevel", "3"},  // it says nothing but what it returns
  };
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &sentences, &model);
  if (!status.ok()) fail_for(vocab, status.message());
  return model;
}

}  // namespace annulus
