#include "kernels/cpu/isa.h"

#include <omp.h>

#include <algorithm>
#include <atomic>

#include "runtime/core/error.h"

namespace annulus::cpu {

namespace plain {
extern const IsaKernels kKernels;
}
#ifdef ANNULUS_X86
namespace avx2 {
extern const IsaKernels kKernels;
}
namespace avx512 {
extern const IsaKernels kKernels;
}
namespace avx512_bf16 {
extern const IsaKernels kKernels;
}
#endif

namespace {

// Best first.
std::vector<const IsaKernels*> supported() {
  std::vector<const IsaKernels*> found;
#ifdef ANNULUS_X86
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx512 && __builtin_cpu_supports("avx512bf16")) found.push_back(&avx512_bf16::kKernels);
  if (has_avx512) found.push_back(&avx512::kKernels);
  if (has_avx2) found.push_back(&avx2::kKernels);
#endif
  found.push_back(&plain::kKernels);
  return found;
}

std::atomic<const IsaKernels*> chosen{nullptr};  // ranks that are threads all choose, and alike

}  // namespace

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const IsaKernels* kernels : supported()) names.emplace_back(kernels->name);
  return names;
}

const IsaKernels& kernels_of(std::string_view name) {
  const auto found = supported();
  for (const IsaKernels* kernels : found)
    if (name == "auto" || name == kernels->name) return *kernels;
  std::string has;
  for (const IsaKernels* kernels : found) has += std::string(has.empty() ? "" : ", ") + kernels->name;
  fail(ExitCode::kUsage, "--isa=", name, " is not possible: this CPU and build have ", has, " (auto takes the first)");
}

void choose_isa(std::string_view name) { chosen = &kernels_of(name); }

const IsaKernels& isa_kernels() {
  const IsaKernels* kernels = chosen.load(std::memory_order_relaxed);
  if (!kernels) chosen = kernels = supported().front();
  return *kernels;
}

void set_num_threads(int threads) { omp_set_num_threads(threads); }
int num_threads() { return omp_get_max_threads(); }

double measure_peak_gflops(double seconds, Dtype dtype) {
  if (dtype == Dtype::kBf16 && isa_kernels().has_bf16_products) return isa_kernels().bf16_gflops(seconds);
  double best = 0.0;
  for (const IsaKernels* kernels : supported()) best = std::max(best, kernels->fma_gflops(seconds));
  return best;
}

}  // namespace annulus::cpu
