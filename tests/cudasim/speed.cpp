// Warp instructions per second of CPU time, on the matrix product: cudasim_speed matrix_product.ptx [K]
// Four blocks of 64 x 64 results each. Prints one line in order and one by chance, with and without statistics.

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>

#include "tests/cudasim/ptx/launch.h"

namespace {

using namespace annulus::cudasim;

void measure(LoadedModule& module, Memory& memory, int k, const Options& options) {
  const std::vector<uint16_t> ones(static_cast<size_t>(128 * k), 0x3f80);
  const uint64_t a = memory.upload(ones, "a"), b = memory.upload(ones, "b"), c = memory.allocate(128 * 128 * 4, "c");
  const Program& program = module.kernel("matrix_product");
  launch(program, memory, {2, 2}, {128}, arguments(c, a, b, 128, k), options);  // warms caches
  const std::clock_t start = std::clock();
  const Statistics statistics = launch(program, memory, {2, 2}, {128}, arguments(c, a, b, 128, k), options);
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  const auto runs = static_cast<double>(statistics.total.runs);
  fmt::print(
      "seed {} statistics {}: {:.2f} million warp instructions, {:.3f} s of CPU, {:.2f} million a second ({:.1f} % "
      "mma)\n",
      options.seed, options.statistics ? "on" : "off", runs / 1e6, seconds, runs / 1e6 / seconds,
      100 * static_cast<double>(statistics.tensor_core_instructions) / runs);
}

}  // namespace

int main(int count, char** values) {
  if (count < 2) {
    std::fputs("usage: cudasim_speed matrix_product.ptx [K]\n", stderr);
    return 64;
  }
  std::ifstream file(values[1]);
  std::ostringstream text;
  text << file.rdbuf();
  Memory memory;
  LoadedModule module(text.str(), memory);
  for (const bool statistics : {true, false})
    for (const uint64_t seed : {0, 1}) {
      Options options;
      options.seed = seed;
      options.statistics = statistics;
      measure(module, memory, count > 2 ? std::atoi(values[2]) : 4096, options);
    }
}
