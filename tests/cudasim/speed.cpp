// Warp instructions per second of CPU time, of one core: cudasim_speed [repetitions]
// The forward pass of attention (two heads of 1024 tokens) and a matrix product (128 x 2048 x 128), each in order and
// by chance, with and without statistics or the race detector: the median and the best of the repetitions.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <random>

#include "tests/cudasim/compiled.h"
#include "tests/cudasim/ptx/launch.h"
#include "tests/cudasim/ptx/number.h"
#include "tests/cudasim/races/race_detector.h"

namespace {

using namespace annulus::cudasim;

std::vector<uint16_t> bfloats(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> distribution;
  std::vector<uint16_t> values(count);
  for (uint16_t& value : values) value = float_to_bfloat(distribution(random));
  return values;
}

template <class Launch>
void measure(const char* name, int repetitions, const Memory& memory, Launch launch_once) {
  enum class With { kStatistics, kNothing, kRaces };
  for (const uint64_t seed : {0, 1})
    for (const With with : {With::kStatistics, With::kNothing, With::kRaces}) {
      RaceDetector races(memory);
      Options options;
      options.seed = seed;
      options.statistics = with == With::kStatistics;
      options.observer = with == With::kRaces ? &races : nullptr;
      Statistics counted = launch_once(options);  // warms caches
      const auto runs = static_cast<double>(counted.total.runs) / 1e6;
      std::vector<double> rates;
      for (int i = 0; i < repetitions; ++i) {
        const std::clock_t start = std::clock();
        launch_once(options);
        rates.push_back(runs / (static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC));
      }
      std::sort(rates.begin(), rates.end());
      fmt::print("{:14} {:9} {:15}: median {:5.2f}, best {:5.2f} million a second ({:.2f} million, {:.1f} % mma)\n",
                 name, seed == 0 ? "in order" : "by chance",
                 with == With::kStatistics ? "with statistics"
                 : with == With::kRaces    ? "with races"
                                           : "alone",
                 rates[rates.size() / 2], rates.back(), runs,
                 static_cast<double>(counted.tensor_core_instructions) / runs / 1e4);
    }
}

void measure_flash(int repetitions) {
  constexpr int kHeads = 2, kTokens = 1024, kWidth = 64;
  Memory memory;
  LoadedModule module(compiled("flash_forward"), memory);
  const std::vector<uint16_t> numbers = bfloats(kHeads * kTokens * kWidth);
  const uint64_t q = memory.upload(numbers, "q"), k = memory.upload(numbers, "k"), v = memory.upload(numbers, "v");
  const uint64_t out = memory.allocate(numbers.size() * 4, "out"), lse = memory.allocate(kHeads * kTokens * 4, "lse");
  const Program& program = module.kernel("flash_forward");
  measure("flash_forward", repetitions, memory, [&](const Options& options) {
    return launch(program, memory, {kTokens / 64, kHeads}, {128}, arguments(out, lse, q, k, v, kTokens, 0.18f),
                  options);
  });
}

void measure_product(int repetitions) {
  constexpr int kSide = 128, kDepth = 2048;
  Memory memory;
  LoadedModule module(compiled("matrix_product"), memory);
  const std::vector<uint16_t> numbers = bfloats(kSide * kDepth);
  const uint64_t a = memory.upload(numbers, "a"), b = memory.upload(numbers, "b");
  const uint64_t c = memory.allocate(kSide * kSide * 4, "c");
  const Program& program = module.kernel("matrix_product");
  measure("matrix_product", repetitions, memory, [&](const Options& options) {
    return launch(program, memory, {kSide / 64, kSide / 64}, {128}, arguments(c, a, b, kSide, kDepth), options);
  });
}

}  // namespace

int main(int count, char** values) {
  const int repetitions = count > 1 ? std::max(std::atoi(values[1]), 1) : 5;
  measure_flash(repetitions);
  measure_product(repetitions);
}
