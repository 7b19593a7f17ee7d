#pragma once
// The learning rate over a run.
#include <cstdint>

#include "runtime/config.h"

namespace annulus {

/// Of update `step` (0-based): rises linearly over warmup_steps, then falls from learning_rate to min_learning_rate
/// along a half cosine that ends with the last step (arXiv:1608.03983).
double learning_rate_at(int64_t step, const TrainConfig& config);

}  // namespace annulus
