#pragma once
// The learning rate over a run.
#include <cstdint>

#include "runtime/config.h"

namespace annulus {

/// Of update `step` (0-based): rises linearly to learning_rate, which the last of warmup_steps has (without them the
/// first step), then falls along a half cosine to min_learning_rate, which the last step has (arXiv:1608.03983).
double learning_rate_at(int64_t step, const TrainConfig& config);

}  // namespace annulus
