#include "runtime/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/core/error.h"

namespace annulus {

double learning_rate_at(int64_t step, const TrainConfig& config) {
  const double high = config.learning_rate, low = config.min_learning_rate;
  if (step < config.warmup_steps)
    return high * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  const int64_t highest = std::max<int64_t>(config.warmup_steps - 1, 0), last = config.steps - 1, left = last - step;
  const double done = last > highest ? static_cast<double>(step - highest) / static_cast<double>(last - highest) : 0.0;
  const auto at_height = [&](double height) { return low + (high - low) * height; };  // of 1 to 0
  if (config.schedule == "cosine") return at_height(0.5 * (1.0 + std::cos(std::numbers::pi * done)));
  if (config.schedule == "linear") return at_height(1.0 - done);
  if (config.schedule == "wsd")
    return left >= config.decay_steps ? high
                                      : at_height(static_cast<double>(left) / static_cast<double>(config.decay_steps));
  invariant(config.schedule == "constant", "no learning rate for train.schedule = ", config.schedule);
  return high;
}

}  // namespace annulus
