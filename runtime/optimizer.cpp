#include "runtime/optimizer.h"

#include <cmath>

#include "kernels/adamw.h"
#include "kernels/elementwise.h"

namespace annulus {

double global_norm(const ParameterStore& store, const std::vector<ParameterRows>& owned, Group& world) {
  double squares = 0.0;
  for (const ParameterRows& rows : owned)
    squares += sum_of_squares(store.gradients().narrow(0, rows.begin, rows.end - rows.begin));
  return std::sqrt(world.sum(squares, "the global gradient norm"));
}

double clip_factor(double norm, double max_norm) { return max_norm > 0.0 && norm > max_norm ? max_norm / norm : 1.0; }

Optimizer::Optimizer(ParameterStore& store, const FlatRange& range, const TrainConfig& config)
    : store_(store), range_(range), config_(config), owned_(store.owned_rows(range)) {
  const Shape flat = {range.end - range.begin};
  std::vector<TensorView*> tensors = {&m_, &v_};
  if (has_masters()) tensors.push_back(&master_);
  {
    const Arena::Scope measured(memory_);
    for (size_t i = 0; i < tensors.size(); ++i) memory_.take(flat);
  }
  memory_.commit();
  for (TensorView* tensor : tensors) fill_zero(*tensor = memory_.take(flat));
}

void Optimizer::round_masters() {
  if (!has_masters()) return;
  for (const ParameterRows& rows : owned_) convert(weight(rows), master(rows));
}

void Optimizer::step(double learning_rate, double gradient_factor, int64_t step) {
  for (const ParameterRows& rows : owned_) {
    const Parameter& parameter = store_.parameters()[static_cast<size_t>(rows.parameter)];
    const double decay = parameter.decays() ? config_.weight_decay : 0.0;
    adamw(weight(rows), master(rows), m(rows), v(rows), store_.gradients().narrow(0, rows.begin, size_of(rows)),
          {.learning_rate = static_cast<float>(learning_rate),
           .beta1 = static_cast<float>(config_.beta1),
           .beta2 = static_cast<float>(config_.beta2),
           .epsilon = static_cast<float>(config_.epsilon),
           .weight_decay = static_cast<float>(decay),
           .gradient_scale = static_cast<float>(gradient_factor),
           .step = step});
  }
}

}  // namespace annulus
