// The rate of fused multiply-adds that stay in registers: what every share of peak in this project is a share of.
#include <ctime>

#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/simd.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr int kChains = 12;  // independent: latency 4, two units, and some room
constexpr int64_t kRounds = 200'000;

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// x = x * a + b in every chain: the product depends on the chain, so that nothing can be taken out of the loop.
void multiply_add_rounds() {
  static volatile float factor = 1.0f, addend = 1e-9f;  // volatile: the compiler does not know the values
  const Simd::Reg a = Simd::set1(factor), b = Simd::set1(addend);
  Simd::Reg x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = Simd::set1(static_cast<float>(i));
  for (int64_t round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) x[i] = Simd::fma(x[i], a, b);
  Simd::Reg total = Simd::zero();
  for (int i = 0; i < kChains; ++i) total = Simd::add(total, x[i]);
  float lanes[Simd::kLanes];
  Simd::store(lanes, total);
  addend = addend + 0.0f * lanes[0];  // the result is needed
}

}  // namespace

// The best round counts: a third of a millisecond in which nobody else had the core.
double fma_gflops(double seconds) {
  multiply_add_rounds();  // wakes the units and the clock
  const double flops = 2.0 * kChains * Simd::kLanes * static_cast<double>(kRounds);
  double best = 0.0;
  for (const double begin = now(); now() - begin < seconds;) {
    const double round_begin = now();
    multiply_add_rounds();
    const double rate = 1e-9 * flops / (now() - round_begin);
    best = rate > best ? rate : best;
  }
  return best;
}

}  // namespace annulus::cpu::ANNULUS_ISA
