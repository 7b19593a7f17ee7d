#pragma once
// All weights of a model in one flat buffer and all gradients in another, cut into logical tensors. Which rank owns
// which rows is a pure function of the registered shapes and the number of ranks: owners keep the optimizer's moments
// of their rows (ZeRO-1, arXiv:1910.02054).
#include <cstdint>
#include <string>
#include <vector>

#include "comm/reduce.h"
#include "runtime/core/arena.h"
#include "runtime/core/tensor.h"

namespace annulus {

/// A logical tensor: its name in checkpoints, its global shape (one or two dimensions; linear weights are (out, in)),
/// how it is initialised, and where it starts in the flat buffers.
struct Parameter {
  std::string name;
  Shape shape;
  double initial_mean = 0.0, initial_spread = 0.0;  // of a normal distribution
  int64_t offset = 0;                               // in elements

  int64_t rows() const { return shape[0]; }
  int64_t row_elements() const { return shape.rank() == 1 ? 1 : shape[1]; }
  bool decays() const { return shape.rank() > 1; }  // weight decay: matrices only
};

/// Consecutive rows of one parameter.
struct ParameterRows {
  int parameter;
  int64_t first_row, rows;
  int64_t begin, end;  // elements of the flat buffers
};

class ParameterStore {
 public:
  /// `dtype` of the weights: f32 or bf16. Gradients are f32.
  explicit ParameterStore(Dtype dtype = Dtype::kF32) : dtype_(dtype), weights_("parameters"), gradients_("gradients") {}

  /// Registers parameters whose rows follow each other without a gap, so that one matrix product can use them all.
  /// Returns the index of the first. Only before allocate().
  int add_stacked(std::vector<Parameter> stack);

  /// Maps both buffers; both are zero.
  void allocate();

  const std::vector<Parameter>& parameters() const { return parameters_; }
  Dtype dtype() const { return dtype_; }
  int64_t flat_elements() const { return flat_elements_; }  // of a flat buffer, padding included
  int64_t num_elements() const;                             // of all logical tensors

  /// `count` stacked parameters from `first` on as one matrix (rows, columns), or a vector where they are vectors.
  /// Without memory before allocate().
  TensorView weight(int first, int count = 1) const { return view(weights_flat_, first, count); }
  TensorView gradient(int first, int count = 1) const { return view(gradients_flat_, first, count); }
  TensorView weights() const { return weights_flat_; }
  TensorView gradients() const { return gradients_flat_; }

  /// The elements that each of `num_ranks` ranks owns: consecutive whole rows, nearly equal in size.
  std::vector<FlatRange> owned_ranges(int num_ranks) const;
  /// The same for one rank, by parameter; padding between parameters is left out.
  std::vector<ParameterRows> owned_rows(const FlatRange& range) const;

  /// Initial values of `rows`, drawn into `values` (f32) from (seed, name, global index): the same whoever owns them.
  void draw(TensorView values, const ParameterRows& rows, uint64_t seed) const;

 private:
  TensorView view(const TensorView& flat, int first, int count) const;

  Dtype dtype_;
  std::vector<Parameter> parameters_;
  int64_t flat_elements_ = 0;
  Arena weights_, gradients_;
  TensorView weights_flat_, gradients_flat_;
};

}  // namespace annulus
