#pragma once
// A curve over the steps of a run of any length in a bounded number of bins.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace annulus {

/// Consecutive steps [first, last] that had a value, and the least, mean and largest of those.
struct Bin {
  int64_t first = 0, last = 0, count = 0;
  double least = 0.0, sum = 0.0, largest = 0.0;
  double mean() const { return sum / static_cast<double>(count); }
  double middle() const { return 0.5 * (static_cast<double>(first) + static_cast<double>(last)); }
};

/// Bins hold equally many steps, a power of two: one each, until there are more steps than bins; then neighbours join.
class BinnedSeries {
 public:
  explicit BinnedSeries(size_t most_bins = 1000) : most_bins_(most_bins) {}

  /// Steps count from 1 and never fall; a value that is not finite is left out.
  void add(int64_t step, double value);

  const std::vector<Bin>& bins() const { return bins_; }
  int64_t steps_per_bin() const { return width_; }

 private:
  int64_t number_of(int64_t step) const { return (step - 1) / width_; }
  void join_neighbours();

  size_t most_bins_;
  int64_t width_ = 1;
  std::vector<Bin> bins_;  // those that are not empty
};

}  // namespace annulus
