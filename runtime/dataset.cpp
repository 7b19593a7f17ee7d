#include "runtime/dataset.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/core/error.h"
#include "runtime/digest.h"

namespace annulus {

Dataset::Dataset(const DataConfig& config) {
  const std::string& path = config.path;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe, too, is opened at once
  require(ExitCode::kData, file >= 0, "data.path: cannot open '", path, "': ", std::strerror(errno),
          "; give a text file that every node can read");
  struct stat status = {};
  const bool regular = fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  size_ = regular ? status.st_size : 0;
  void* memory = size_ > 0 ? mmap(nullptr, static_cast<size_t>(size_), PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
  close(file);
  require(ExitCode::kData, regular, "data.path: '", path, "' is not a file; give a text file");
  const int64_t row = config.sequence_length + 1;
  validation_.end = size_;
  validation_.begin = size_ - static_cast<int64_t>(config.validation_fraction * static_cast<double>(size_));
  training_ = {0, validation_.begin};
  require(ExitCode::kData, training_.size() >= row, "data.path: '", path, "' leaves ", training_.size(),
          " tokens for training (of ", size_, ", less data.validation_fraction), but one row takes ", row,
          " (data.sequence_length + 1); give a longer text or a shorter sequence");
  require(ExitCode::kData, memory != MAP_FAILED, "data.path: cannot map '", path, "': ", std::strerror(errno));
  bytes_ = static_cast<const unsigned char*>(memory);
}

Dataset::~Dataset() {
  if (bytes_) munmap(const_cast<unsigned char*>(bytes_), static_cast<size_t>(size_));
}

std::string Dataset::digest() const {
  constexpr int64_t kParts = 64, kPartBytes = int64_t{1} << 20;
  std::string text = concat(size_, " bytes\n");
  auto take = [&](int64_t begin, int64_t bytes) {
    text += digest_of(std::as_bytes(std::span(bytes_ + begin, static_cast<size_t>(bytes))));
  };
  if (size_ <= kParts * kPartBytes)
    take(0, size_);
  else
    for (int64_t part = 0; part < kParts; ++part) take(part * (size_ - kPartBytes) / (kParts - 1), kPartBytes);
  return digest_of(text);
}

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
