#pragma once
// The numbers of one AdamW update, as kernels of every backend take them (kernels/adamw.h says what they mean).

namespace annulus {

struct AdamwStep {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  float gradient_scale;            // 1, or less when the global norm is clipped
  float correction1, correction2;  // 1 / (1 - beta^t)
};

}  // namespace annulus
