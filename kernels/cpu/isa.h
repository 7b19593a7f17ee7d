#pragma once
// Which instruction set this process computes with: chosen once, at start, for all kernels.
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernels/cpu/isa_kernels.h"
#include "runtime/core/dtype.h"

namespace annulus::cpu {

/// The names this CPU can run, best first: some of "avx512_bf16", "avx512", "avx2", "plain".
std::vector<std::string> supported_isas();

/// `name`: "auto" or one of the above. Throws UserError (64) naming what this CPU has. Call before the first kernel.
void choose_isa(std::string_view name);

/// The kernels of the chosen instruction set ("auto" if none was chosen).
const IsaKernels& isa_kernels();

/// Those of them over activations and weights of element type T, float or Bf16.
template <class T>
const ElementKernels<T>& element_kernels() {
  if constexpr (std::is_same_v<T, float>) return isa_kernels().f32;
  if constexpr (std::is_same_v<T, Bf16>) return isa_kernels().bf16;
}

/// The kernels of one instruction set that this CPU supports; for tests and benchmarks.
const IsaKernels& kernels_of(std::string_view name);

/// Threads of this rank's kernels; set by the thread that then calls them.
void set_num_threads(int threads);
int num_threads();

/// GFLOP/s of one thread's fused multiply-adds: the best of the vector widths this CPU has, each tried for `seconds`.
/// kBf16: of the products of bf16 pairs, where the chosen instruction set has them; otherwise as f32, to which bf16 is
/// then widened.
double measure_peak_gflops(double seconds, Dtype dtype = Dtype::kF32);

}  // namespace annulus::cpu
