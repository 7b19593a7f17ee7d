#include "runtime/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace annulus {

double learning_rate_at(int64_t step, const TrainConfig& config) {
  const auto warmup = static_cast<double>(config.warmup_steps), at = static_cast<double>(step);
  if (step < config.warmup_steps) return config.learning_rate * (at + 1.0) / warmup;
  const double span = std::max(1.0, static_cast<double>(config.steps) - warmup);
  const double done = std::clamp((at - warmup) / span, 0.0, 1.0);
  const double fall = 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * fall;
}

}  // namespace annulus
