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
  /// Moments, and where weights are bf16 their f32 masters, of owned rows only (ZeRO-1); zero.
  Optimizer(ParameterStore& store, const FlatRange& range, const TrainConfig& config);

  /// Update number `step` (1 for the first) of the owned rows: of their masters, of which weights are the rounded
  /// values. Weight decay acts on matrices only.
  void step(double learning_rate, double gradient_factor, int64_t step);

  /// Writes the weights of the owned rows, after their masters were drawn or loaded.
  void round_masters();

  const std::vector<ParameterRows>& owned() const { return owned_; }
  /// Of rows that this rank owns, as they lie in the flat range: weights, masters (f32 weights are their own) and
  /// moments.
  TensorView weight(const ParameterRows& rows) const { return store_.weights().narrow(0, rows.begin, size_of(rows)); }
  TensorView master(const ParameterRows& rows) const { return has_masters() ? mine(master_, rows) : weight(rows); }
  TensorView m(const ParameterRows& rows) const { return mine(m_, rows); }
  TensorView v(const ParameterRows& rows) const { return mine(v_, rows); }

 private:
  static int64_t size_of(const ParameterRows& rows) { return rows.end - rows.begin; }
  TensorView mine(const TensorView& flat, const ParameterRows& rows) const {
    return flat.narrow(0, rows.begin - range_.begin, size_of(rows));
  }
  bool has_masters() const { return store_.dtype() != Dtype::kF32; }

  ParameterStore& store_;
  FlatRange range_;
  TrainConfig config_;
  std::vector<ParameterRows> owned_;
  Arena memory_{"optimizer state"};
  TensorView m_, v_, master_;
};

}  // namespace annulus
