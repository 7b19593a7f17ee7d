#pragma once
// The tokens of a text file, memory-mapped, cut into a training and a validation part, and which rows a step takes.
#include <cstdint>
#include <string>

#include "runtime/config.h"
#include "runtime/core/rng.h"

namespace annulus {

/// Tokens [begin, end) of the file.
struct TokenRange {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

class Dataset {
 public:
  /// Throws UserError (65) where the file is missing, unreadable, empty or too short for one training row of
  /// `sequence_length` + 1 tokens.
  explicit Dataset(const DataConfig& config);
  ~Dataset();
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  /// Tells one text from another: XXH3-128 of its size and of 64 MiB spread evenly over it (all of it, where it is
  /// smaller).
  std::string digest() const;

  int32_t token(int64_t index) const { return bytes_[index]; }
  const TokenRange& training() const { return training_; }
  const TokenRange& validation() const { return validation_; }

 private:
  const unsigned char* bytes_ = nullptr;
  int64_t size_ = 0;
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
  int64_t rows_per_epoch() const { return rows_; }

 private:
  TokenRange training_;
  int64_t sequence_length_, rows_;
  uint64_t seed_;
};

}  // namespace annulus
