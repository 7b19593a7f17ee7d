// RMSNorm, arXiv:1910.07467: y = x * rstd * gain, rstd = 1 / sqrt(mean(x^2) + epsilon). One row per token.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/reduce.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr int64_t kTokensPerItem = 16;

// In double, where no square of a float overflows.
template <class T>
float rstd_of_huge(const T* x, int64_t C, float epsilon) {
  double sum_sq = 0.0;
  for (int64_t c = 0; c < C; ++c) sum_sq += static_cast<double>(to_float(x[c])) * static_cast<double>(to_float(x[c]));
  return static_cast<float>(1.0 / __builtin_sqrt(sum_sq / static_cast<double>(C) + static_cast<double>(epsilon)));
}

template <class T>
void forward_row(T* y, float* rstd, const T* x, const T* gain, int64_t C, float epsilon) {
  const float sum_sq = sum_over(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS {
    const Simd::Reg v = load_first(x + c, count);
    return Simd::mul(v, v);
  });
  *rstd = 1.0f / __builtin_sqrtf(sum_sq / static_cast<float>(C) + epsilon);
  if (*rstd == 0.0f) *rstd = rstd_of_huge(x, C, epsilon);  // from 1.8e19 on; y would be 0 without a word
  const Simd::Reg scale = Simd::set1(*rstd);
  for_lanes(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS {
    const Simd::Reg v = Simd::mul(load_first(x + c, count), scale);
    store_first(y + c, Simd::mul(v, load_first(gain + c, count)), count);
  });
}

void add_row(float* sum, const float* row, int64_t C) {
  for_lanes(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS {
    store_first(sum + c, Simd::add(load_first(sum + c, count), load_first(row + c, count)), count);
  });
}

// With n = x * rstd: dgain += dy * n, and dx = rstd * (dy * gain - n * mean(dy * gain * n)) (+ add). No factor is as
// small as rstd^3, which underflows where x is huge. dx may overwrite add or dy.
template <class T>
void backward_row(T* dx, float* dgain, const T* dy, const T* x, float rstd, const T* gain, const T* add, int64_t C) {
  const Simd::Reg scale = Simd::set1(rstd);
  const float dot = sum_over(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS {
    const Simd::Reg d = load_first(dy + c, count), normed = Simd::mul(load_first(x + c, count), scale);
    store_first(dgain + c, Simd::fma(d, normed, load_first(dgain + c, count)), count);
    return Simd::mul(Simd::mul(d, load_first(gain + c, count)), normed);
  });
  const Simd::Reg pull = Simd::set1(-dot / static_cast<float>(C) * rstd);
  for_lanes(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS {
    const Simd::Reg g = Simd::mul(load_first(dy + c, count), load_first(gain + c, count));
    const Simd::Reg normed = Simd::mul(load_first(x + c, count), scale);
    const Simd::Reg d = Simd::fma(g, scale, Simd::mul(normed, pull));
    store_first(dx + c, Simd::add(d, load_first(add + c, count)), count);
  });
}

}  // namespace

template <class T>
void rms_norm_forward(T* y_NC, float* rstd_N, const T* x_NC, const T* gain_C, int64_t N, int64_t C, float epsilon) {
  parallel_for_chunks(N, kTokensPerItem,
                      [&](int64_t t) { forward_row(y_NC + t * C, rstd_N + t, x_NC + t * C, gain_C, C, epsilon); });
}

// One pass: a thread takes kTokensPerNormSum tokens, whose part of the gain's gradient it adds up in a row of scratch
// of its own. The rows are added in token order: the same bits for any number of threads, and short sums, whose
// rounding error is small.
template <class T>
void rms_norm_backward(T* dx_NC, float* dgain_C, const T* dy_NC, const T* x_NC, const float* rstd_N, const T* gain_C,
                       const T* add_NC, int64_t N, int64_t C, float* scratch) {
  const int64_t sums = (N + kTokensPerNormSum - 1) / kTokensPerNormSum;
  parallel_for(sums, [&](int64_t item, int) {
    float* sum = scratch + item * C;
    for_lanes(C, [&](int64_t c, int64_t count) ANNULUS_ALWAYS { store_first(sum + c, Simd::zero(), count); });
    const int64_t end = (item + 1) * kTokensPerNormSum < N ? (item + 1) * kTokensPerNormSum : N;
    for (int64_t t = item * kTokensPerNormSum; t < end; ++t)
      backward_row(dx_NC + t * C, sum, dy_NC + t * C, x_NC + t * C, rstd_N[t], gain_C, add_NC + t * C, C);
  });
  for (int64_t item = 1; item < sums; ++item) add_row(scratch, scratch + item * C, C);
  if (sums > 0) add_row(dgain_C, scratch, C);
}

template void rms_norm_forward(float*, float*, const float*, const float*, int64_t, int64_t, float);
template void rms_norm_forward(Bf16*, float*, const Bf16*, const Bf16*, int64_t, int64_t, float);
template void rms_norm_backward(float*, float*, const float*, const float*, const float*, const float*, const float*,
                                int64_t, int64_t, float*);
template void rms_norm_backward(Bf16*, float*, const Bf16*, const Bf16*, const float*, const Bf16*, const Bf16*,
                                int64_t, int64_t, float*);

}  // namespace annulus::cpu::ANNULUS_ISA
