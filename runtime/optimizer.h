#pragma once
// AdamW on the rows that this rank owns, and the clipping of the global gradient norm.
#include "comm/group.h"
#include "model/parameter.h"
#include "runtime/config.h"
#include "runtime/core/arena.h"

namespace annulus {

/// Collective: the Euclidean norm of the whole gradient, from every rank's owned rows (summed over ranks already).
double global_norm(const ParameterStore& store, const std::vector<ParameterRows>& owned, Group& world);

/// What the gradient must be multiplied by so that its norm is at most `max_norm` (0: no clipping).
double clip_factor(double norm, double max_norm);

class Optimizer {
 public:
  /// Moments of `owned` rows only (ZeRO-1), zero.
  Optimizer(ParameterStore& store, const FlatRange& range, const TrainConfig& config);

  /// Update number `step` (1 for the first) of the owned rows. Weight decay acts on matrices only.
  void step(double learning_rate, double gradient_factor, int64_t step);

  const std::vector<ParameterRows>& owned() const { return owned_; }
  /// The moments of rows that this rank owns, as they lie in the flat range.
  TensorView m(const ParameterRows& rows) const {
    return m_.narrow(0, rows.begin - range_.begin, rows.end - rows.begin);
  }
  TensorView v(const ParameterRows& rows) const {
    return v_.narrow(0, rows.begin - range_.begin, rows.end - rows.begin);
  }

 private:
  ParameterStore& store_;
  FlatRange range_;
  TrainConfig config_;
  std::vector<ParameterRows> owned_;
  Arena moments_{"optimizer moments"};
  TensorView m_, v_;
};

}  // namespace annulus
