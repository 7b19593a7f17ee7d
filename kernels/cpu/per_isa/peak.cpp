// The rate of fused multiply-adds that stay in registers, of f32 and of bf16 pairs: what every share of peak in this
// project is a share of.
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include <ctime>

#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/simd.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr int kChains = 12;  // independent: latency 4 or 6, two units, and some room
constexpr int64_t kRounds = 200'000;

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// x = step(x) in every chain: each depends on the one before, so that nothing can be taken out of the loop.
template <class Step>
[[gnu::always_inline]] inline void run_chains(Step step) {
  Simd::Reg x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = Simd::set1(static_cast<float>(i));
  for (int64_t round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) x[i] = step(x[i]);
  Simd::Reg total = Simd::zero();
  for (int i = 0; i < kChains; ++i) total = Simd::add(total, x[i]);
  float lanes[Simd::kLanes];
  Simd::store(lanes, total);
  [[maybe_unused]] static volatile float result;  // which is thereby needed
  result = lanes[0];
}

static volatile float factor = 1.0f, addend = 1e-9f;  // volatile: the compiler does not know the values

void multiply_add_rounds() {
  const Simd::Reg a = Simd::set1(factor), b = Simd::set1(addend);
  run_chains([=](Simd::Reg x) ANNULUS_ALWAYS { return Simd::fma(x, a, b); });
}

#if defined(__AVX512BF16__)
void bf16_product_rounds() {
  const Simd::Reg ones = Simd::set1(factor);
  const auto a = reinterpret_cast<__m512bh>(ones);
  run_chains([=](Simd::Reg x) ANNULUS_ALWAYS { return _mm512_dpbf16_ps(x, a, a); });
}
#endif

// The best run counts: a third of a millisecond in which nobody else had the core.
double best_gflops(double seconds, double flops_per_step, void (*run)()) {
  run();  // wakes the units and the clock
  const double flops = flops_per_step * kChains * static_cast<double>(kRounds);
  double best = 0.0;
  for (const double begin = now(); now() - begin < seconds;) {
    const double run_begin = now();
    run();
    const double rate = 1e-9 * flops / (now() - run_begin);
    best = rate > best ? rate : best;
  }
  return best;
}

}  // namespace

double fma_gflops(double seconds) { return best_gflops(seconds, 2.0 * Simd::kLanes, multiply_add_rounds); }

double bf16_gflops([[maybe_unused]] double seconds) {
#if defined(__AVX512BF16__)
  return best_gflops(seconds, 4.0 * Simd::kLanes, bf16_product_rounds);
#else
  return 0.0;
#endif
}

}  // namespace annulus::cpu::ANNULUS_ISA
