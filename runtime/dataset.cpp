#include "runtime/dataset.h"

#include <algorithm>

#include "runtime/core/error.h"
#include "runtime/text_file.h"

namespace annulus {

Dataset::Dataset(const DataConfig& config)
    : Dataset(config, open_token_file(config),
              reads_text(config) ? std::make_shared<const Tokenizer>("bytes") : nullptr) {
  invariant(config.tokenizer == "bytes", "a text is read as bytes that has a tokenizer");
}

Dataset::Dataset(const DataConfig& config, TokenFile file, std::shared_ptr<const Tokenizer> tokenizer)
    : path_(config.path), file_(std::move(file)), tokenizer_(std::move(tokenizer)) {
  const int64_t size = file_.size(), row = config.sequence_length + 1;
  validation_.end = size;
  validation_.begin = size - static_cast<int64_t>(config.validation_fraction * static_cast<double>(size));
  if (has_documents()) validation_.begin = document_end(validation_.begin - 1, size);
  training_ = {0, validation_.begin};
  require(ExitCode::kData, training_.size() >= row, "data.path: '", path_, "' leaves ", training_.size(),
          " tokens for training (of ", size, ", less data.validation_fraction), but one row takes ", row,
          " (data.sequence_length + 1); give a longer text or a shorter sequence");
}

int64_t Dataset::document_end(int64_t index, int64_t end) const {
  const auto starts = file_.document_starts();
  const auto next = std::upper_bound(starts.begin(), starts.end(), index);
  return next == starts.end() ? end : std::min(*next, end);
}

void Dataset::require_in_vocabulary(int64_t vocab) const {
  for (int64_t i = 0; i < file_.size(); ++i) {
    const int32_t token = file_.token(i);
    require(ExitCode::kData, token >= 0 && token < vocab, "data.path: token ", i, " of '", path_, "' is ", token,
            ", but the model knows the ids 0 to ", vocab - 1, "; set model.vocab to what the tokenizer has");
  }
}

int64_t Dataset::text_bytes() const {
  int64_t bytes = 0;
  for (int64_t i = 0; i < file_.size(); ++i) bytes += tokenizer_->bytes_of(file_.token(i));
  return bytes;
}

std::string Dataset::digest() const { return digest_of_documents(file_.bytes(), file_.document_starts()); }

RowOrder::RowOrder(const TokenRange& training, int64_t sequence_length, uint64_t seed)
    : training_(training),
      sequence_length_(sequence_length),
      // One row fewer than fit, where there are two: what is left over lets every epoch start at its own offset.
      rows_(std::max<int64_t>(1, (training.size() - 1) / sequence_length - 1)),
      seed_(seed) {}

int64_t RowOrder::first_token(int64_t row) const {
  const auto epoch = static_cast<uint64_t>(row / rows_), index = static_cast<uint64_t>(row % rows_);
  const auto slack = static_cast<uint64_t>(training_.size() - 1 - rows_ * sequence_length_);
  const auto offset = static_cast<int64_t>(CounterRng(seed_, "row offset").below(epoch, slack + 1));
  const Permutation order(CounterRng(seed_ + epoch, "row order"), static_cast<uint64_t>(rows_));
  return training_.begin + offset + static_cast<int64_t>(order(index)) * sequence_length_;
}

}  // namespace annulus
