#include "runtime/report/binned_series.h"

#include <algorithm>
#include <cmath>

namespace annulus {
namespace {

void put(std::vector<Bin>& bins, const Bin& more, bool same_bin) {
  if (!same_bin) return bins.push_back(more);
  Bin& bin = bins.back();
  bin.last = more.last;
  bin.count += more.count;
  bin.sum += more.sum;
  bin.least = std::min(bin.least, more.least);
  bin.largest = std::max(bin.largest, more.largest);
}

}  // namespace

void BinnedSeries::add(int64_t step, double value) {
  if (!std::isfinite(value)) return;
  put(bins_, {step, step, 1, value, value, value}, !bins_.empty() && number_of(bins_.back().first) == number_of(step));
  while (bins_.size() > most_bins_) join_neighbours();
}

void BinnedSeries::join_neighbours() {
  width_ *= 2;
  std::vector<Bin> joined;
  for (const Bin& bin : bins_)
    put(joined, bin, !joined.empty() && number_of(joined.back().first) == number_of(bin.first));
  bins_ = std::move(joined);
}

}  // namespace annulus
