// RMSNorm, arXiv:1910.07467: y = x * rstd * gain, rstd = 1 / sqrt(mean(x^2) + epsilon). One row per token.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr int64_t kTokensPerItem = 16;
constexpr int64_t kTokensPerSum = 64;  // of the gain's gradient: short partial sums keep its rounding error small

int64_t items(int64_t n, int64_t per_item) { return (n + per_item - 1) / per_item; }

// In double, where no square of a float overflows.
float rstd_of_huge(const float* x, int64_t C, float epsilon) {
  double sum_sq = 0.0;
  for (int64_t c = 0; c < C; ++c) sum_sq += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  return static_cast<float>(1.0 / __builtin_sqrt(sum_sq / static_cast<double>(C) + static_cast<double>(epsilon)));
}

void forward_row(float* y, float* rstd, const float* x, const float* gain, int64_t C, float epsilon) {
  const float sum_sq = sum_over(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS {
    const Simd::Reg v = Simd::load_first(x + c, count);
    return Simd::mul(v, v);
  });
  *rstd = 1.0f / __builtin_sqrtf(sum_sq / static_cast<float>(C) + epsilon);
  if (*rstd == 0.0f) *rstd = rstd_of_huge(x, C, epsilon);  // from 1.8e19 on; y would be 0 without a word
  const Simd::Reg scale = Simd::set1(*rstd);
  for_lanes(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS {
    const Simd::Reg v = Simd::mul(Simd::load_first(x + c, count), scale);
    Simd::store_first(y + c, Simd::mul(v, Simd::load_first(gain + c, count)), count);
  });
}

// dx = rstd * (dy * gain - x * rstd * mean(dy * gain * x) * rstd) (+ add): no factor is as small as rstd^3, which
// underflows where x is huge.
void backward_row(float* dx, const float* dy, const float* x, float rstd, const float* gain, const float* add,
                  int64_t C) {
  const float dot = sum_over(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS {
    const Simd::Reg g = Simd::mul(Simd::load_first(dy + c, count), Simd::load_first(gain + c, count));
    return Simd::mul(g, Simd::load_first(x + c, count));
  });
  const Simd::Reg scale = Simd::set1(rstd), pull = Simd::set1(-dot * rstd / static_cast<float>(C) * rstd);
  for_lanes(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS {
    const Simd::Reg g = Simd::mul(Simd::load_first(dy + c, count), Simd::load_first(gain + c, count));
    const Simd::Reg normed = Simd::mul(Simd::load_first(x + c, count), scale);
    Simd::Reg d = Simd::fma(g, scale, Simd::mul(normed, pull));
    if (add) d = Simd::add(d, Simd::load_first(add + c, count));
    Simd::store_first(dx + c, d, count);
  });
}

}  // namespace

void rms_norm_forward(float* y_NC, float* rstd_N, const float* x_NC, const float* gain_C, int64_t N, int64_t C,
                      float epsilon) {
  parallel_for(items(N, kTokensPerItem), [&](int64_t item, int) {
    const int64_t end = (item + 1) * kTokensPerItem < N ? (item + 1) * kTokensPerItem : N;
    for (int64_t t = item * kTokensPerItem; t < end; ++t)
      forward_row(y_NC + t * C, rstd_N + t, x_NC + t * C, gain_C, C, epsilon);
  });
}

void rms_norm_backward(float* dx_NC, float* dgain_C, const float* dy_NC, const float* x_NC, const float* rstd_N,
                       const float* gain_C, const float* add_NC, int64_t N, int64_t C) {
  // The gain first, column by column: dx may overwrite add or dy.
  parallel_for(items(C, Simd::kLanes), [&](int64_t item, int) {
    const int64_t c = item * Simd::kLanes, count = C - c;
    Simd::Reg total = Simd::zero();
    for (int64_t t0 = 0; t0 < N; t0 += kTokensPerSum) {
      const int64_t end = t0 + kTokensPerSum < N ? t0 + kTokensPerSum : N;
      Simd::Reg sum = Simd::zero();
      for (int64_t t = t0; t < end; ++t) {
        const Simd::Reg normed = Simd::mul(Simd::load_first(x_NC + t * C + c, count), Simd::set1(rstd_N[t]));
        sum = Simd::fma(Simd::load_first(dy_NC + t * C + c, count), normed, sum);
      }
      total = Simd::add(total, sum);
    }
    Simd::store_first(dgain_C + c, Simd::add(Simd::load_first(dgain_C + c, count), total), count);
  });
  parallel_for(items(N, kTokensPerItem), [&](int64_t item, int) {
    const int64_t end = (item + 1) * kTokensPerItem < N ? (item + 1) * kTokensPerItem : N;
    for (int64_t t = item * kTokensPerItem; t < end; ++t)
      backward_row(dx_NC + t * C, dy_NC + t * C, x_NC + t * C, rstd_N[t], gain_C, add_NC ? add_NC + t * C : nullptr, C);
  });
}

}  // namespace annulus::cpu::ANNULUS_ISA
