#include "model/parameter.h"

#include <algorithm>

#include "kernels/elementwise.h"
#include "runtime/core/rng.h"

namespace annulus {
namespace {

constexpr int64_t kCacheLine = 64;  // bytes

}  // namespace

int ParameterStore::add_stacked(std::vector<Parameter> stack) {
  const int first = static_cast<int>(parameters_.size());
  const int64_t per_line = kCacheLine / size_of(dtype_);  // every stack starts on a cache line
  flat_elements_ = (flat_elements_ + per_line - 1) / per_line * per_line;
  for (Parameter& parameter : stack) {
    invariant(parameter.shape.rank() == stack.front().shape.rank() &&
                  parameter.row_elements() == stack.front().row_elements(),
              "stacked parameters differ in row length: ", parameter.name);
    parameter.offset = flat_elements_;
    flat_elements_ += parameter.shape.numel();
    parameters_.push_back(std::move(parameter));
  }
  weights_flat_ = TensorView(nullptr, dtype_, {flat_elements_}, Device::kShape);
  gradients_flat_ = TensorView(nullptr, Dtype::kF32, {flat_elements_}, Device::kShape);
  return first;
}

void ParameterStore::allocate() {
  for (auto [arena, flat] : {std::pair{&weights_, &weights_flat_}, {&gradients_, &gradients_flat_}}) {
    {
      const Arena::Scope measured(*arena);
      arena->take(flat->shape(), flat->dtype());
    }
    arena->commit();
    *flat = arena->take(flat->shape(), flat->dtype());
    fill_zero(*flat);
  }
}

int64_t ParameterStore::num_elements() const {
  int64_t elements = 0;
  for (const Parameter& parameter : parameters_) elements += parameter.shape.numel();
  return elements;
}

TensorView ParameterStore::view(const TensorView& flat, int first, int count) const {
  const Parameter& head = parameters_[static_cast<size_t>(first)];
  int64_t rows = 0;
  for (int i = first; i < first + count; ++i) rows += parameters_[static_cast<size_t>(i)].rows();
  const TensorView elements = flat.narrow(0, head.offset, rows * head.row_elements());
  return head.shape.rank() == 1 ? elements : elements.reshaped({rows, head.row_elements()});
}

std::vector<FlatRange> ParameterStore::owned_ranges(int num_ranks) const {
  std::vector<FlatRange> ranges;
  int64_t begin = 0;
  size_t p = 0;
  for (int rank = 0; rank < num_ranks; ++rank) {
    // The first row boundary at or behind this rank's share; the last rank takes what is left.
    const auto share = static_cast<int64_t>(static_cast<__int128>(flat_elements_) * (rank + 1) / num_ranks);
    while (p < parameters_.size() && parameters_[p].offset + parameters_[p].shape.numel() <= share) ++p;
    int64_t end = std::max(begin, share);
    if (p < parameters_.size()) {
      const Parameter& parameter = parameters_[p];
      const int64_t inside = std::max<int64_t>(0, share - parameter.offset), row = parameter.row_elements();
      end = std::max(begin, parameter.offset + (inside + row - 1) / row * row);
    }
    if (rank == num_ranks - 1) end = flat_elements_;
    ranges.push_back({begin, end});
    begin = end;
  }
  return ranges;
}

std::vector<ParameterRows> ParameterStore::owned_rows(const FlatRange& range) const {
  std::vector<ParameterRows> rows;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& parameter = parameters_[i];
    const int64_t begin = std::max(range.begin, parameter.offset);
    const int64_t end = std::min(range.end, parameter.offset + parameter.shape.numel());
    if (begin >= end) continue;
    const int64_t row = parameter.row_elements();
    rows.push_back({static_cast<int>(i), (begin - parameter.offset) / row, (end - begin) / row, begin, end});
  }
  return rows;
}

void ParameterStore::draw(TensorView values, const ParameterRows& rows, uint64_t seed) const {
  const Parameter& parameter = parameters_[static_cast<size_t>(rows.parameter)];
  const CounterRng rng(seed, parameter.name);
  float* value = values.data<float>();
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const double draw = parameter.initial_spread == 0.0 ? 0.0 : rng.normal(static_cast<uint64_t>(i - parameter.offset));
    *value++ = static_cast<float>(parameter.initial_mean + parameter.initial_spread * draw);
  }
}

}  // namespace annulus
