#pragma once
// The tokens of a file, cut into a training and a validation part, and which rows a step takes.
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/config.h"
#include "runtime/core/rng.h"
#include "runtime/token_file.h"
#include "runtime/tokenizer.h"

namespace annulus {

/// Tokens [begin, end) of the file.
struct TokenRange {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

class Dataset {
 public:
  /// Of token ids, or of text whose bytes are tokens. The validation part is the end of the file; of several documents
  /// it begins with one. Throws UserError (65) as open_token_file() does, and where the rest is too short for one
  /// training row of `sequence_length` + 1 tokens.
  explicit Dataset(const DataConfig& config);

  /// The same, of a file that is open (open_dataset() opens every kind); `tokenizer` is what made its tokens, nullptr
  /// where they came as ids.
  Dataset(const DataConfig& config, TokenFile file, std::shared_ptr<const Tokenizer> tokenizer);

  /// Tells one text from another: digest_of_documents() of its tokens.
  std::string digest() const;

  /// Reads every token. Throws UserError (65) naming the first that is not in [0, vocab).
  void require_in_vocabulary(int64_t vocab) const;

  int32_t token(int64_t index) const { return file_.token(index); }
  bool has_documents() const { return file_.document_starts().size() > 1; }
  /// The first token behind `index` that begins another document; at most `end`.
  int64_t document_end(int64_t index, int64_t end) const;

  const Tokenizer* tokenizer() const { return tokenizer_.get(); }
  int64_t memory_bytes() const { return file_.memory_bytes(); }
  int64_t text_bytes() const;  // that the tokens stand for; there must be a tokenizer

  const TokenRange& training() const { return training_; }
  const TokenRange& validation() const { return validation_; }

 private:
  std::string path_;
  TokenFile file_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  TokenRange training_{}, validation_{};
};

/// The order of training rows: a row is sequence_length + 1 tokens, rows of an epoch do not overlap but for the shared
/// token at their seam, and every epoch has its own order and its own offset. A function of the seed and of how many
/// rows the run has taken (the cursor of a checkpoint), not of ranks.
class RowOrder {
 public:
  RowOrder(const TokenRange& training, int64_t sequence_length, uint64_t seed);

  /// Index of the first token of training row number `row` (0, 1, 2, ... over the whole run).
  int64_t first_token(int64_t row) const;

 private:
  TokenRange training_;
  int64_t sequence_length_, rows_;
  uint64_t seed_;
};

}  // namespace annulus
