#pragma once
// The learning rate over a run.
#include <cstdint>

#include "runtime/config.h"

namespace annulus {

/// Of update `step` (0-based; the last is l = steps - 1). With w = warmup_steps, high = learning_rate, low =
/// min_learning_rate: for step < w it is high * (step + 1) / w, so that the last step of the warm-up, h = w - 1
/// (without one the first step, h = 0), has high. Behind it, with x = (step - h) / (l - h), train.schedule says:
///   cosine    low + (high - low) * (1 + cos(pi x)) / 2, a half cosine down to low at the last step (arXiv:1608.03983)
///   linear    low + (high - low) * (1 - x)
///   wsd       high while l - step >= d = decay_steps, then low + (high - low) * (l - step) / d (arXiv:2404.06395)
///   constant  high
/// Where the warm-up leaves no step to fall in (l <= h) it is high.
double learning_rate_at(int64_t step, const TrainConfig& config);

}  // namespace annulus
