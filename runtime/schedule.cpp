#include "runtime/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace annulus {

double learning_rate_at(int64_t step, const TrainConfig& config) {
  if (step < config.warmup_steps)
    return config.learning_rate * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  const int64_t highest = std::max<int64_t>(config.warmup_steps - 1, 0), last = config.steps - 1;
  const double done = last > highest ? static_cast<double>(step - highest) / static_cast<double>(last - highest) : 0.0;
  const double fall = 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * fall;
}

}  // namespace annulus
