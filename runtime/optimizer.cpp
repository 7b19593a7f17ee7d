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
  const int64_t floats = range.end - range.begin;
  {
    const Arena::Scope measured(moments_);
    moments_.take({floats});
    moments_.take({floats});
  }
  moments_.commit();
  m_ = moments_.take({floats});
  v_ = moments_.take({floats});
  fill_zero(m_);
  fill_zero(v_);
}

void Optimizer::step(double learning_rate, double gradient_factor, int64_t step) {
  for (const ParameterRows& rows : owned_) {
    const Parameter& parameter = store_.parameters()[static_cast<size_t>(rows.parameter)];
    const int64_t floats = rows.end - rows.begin;
    const double decay = parameter.decays() ? config_.weight_decay : 0.0;
    const TensorView weight = store_.weights().narrow(0, rows.begin, floats);
    adamw(weight, weight, m(rows), v(rows), store_.gradients().narrow(0, rows.begin, floats),
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
