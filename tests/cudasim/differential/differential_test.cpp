// Random straight-line programs, compiled by nvcc and interpreted, against the same text compiled by g++: every bit of
// every result. NaN counts as one value. Left out is what only approximates (docs/CUDASIM.md).
//
// differential_test PROGRAMS.so INPUTS PROGRAMS.ptx...    INPUTS: how many sets of inputs are tried

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/cudasim/differential/programs.h"
#include "tests/cudasim/ptx/launch.h"

namespace annulus::cudasim {
namespace {

constexpr size_t kThreads = 112;  // the last warp is half empty

/// Random bits of every length, and the values at which arithmetic has its edges.
class Chance {
 public:
  explicit Chance(uint64_t seed) : random_(seed) {}

  uint64_t whole() {
    constexpr uint64_t kEdges[] = {0,
                                   1,
                                   0x7f,
                                   0x80,
                                   0xff,
                                   0x7fff,
                                   0x8000,
                                   0xffff,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0xff800000,
                                   ~uint64_t{0} >> 1,
                                   uint64_t{1} << 63,
                                   ~uint64_t{0}};
    return random_() % 3 == 0 ? pick(kEdges) : random_() >> random_() % 64;
  }
  double real() {
    constexpr uint64_t kEdges[] = {0,
                                   0x8000000000000000,
                                   0x7ff0000000000000,
                                   0xfff0000000000000,
                                   0x7ff8000000000000,
                                   1,
                                   0x800fffffffffffff,
                                   0x7fefffffffffffff,
                                   0x41dfffffffe00000,
                                   0xc1e0000000000000,
                                   0x43e0000000000000,
                                   0x43f0000000000000,
                                   0x3ff0000000000000};
    return std::bit_cast<double>(random_() % 3 == 0 ? pick(kEdges) : number(1023, 52));
  }
  float single() {
    constexpr uint32_t kEdges[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 1,          0x807fffff,
                                   0x00800000, 0x7f7fffff, 0x4effffff, 0xcf000000, 0x5f000000, 0x3f800000, 0x3f000000};
    return std::bit_cast<float>(random_() % 3 == 0 ? pick(kEdges) : static_cast<uint32_t>(number(127, 23)));
  }
  template <class Small>
  Small small(int bias, int mantissa) {
    return {static_cast<uint16_t>(random_() % 3 == 0 ? random_() : number(bias, mantissa))};
  }

 private:
  template <class T, size_t N>
  T pick(const T (&edges)[N]) {
    return edges[random_() % N];
  }
  // Of a size at which sums round, mostly, and often with few bits, so that halves and wholes are among them.
  uint64_t number(int bias, int mantissa) {
    const uint64_t few =
        random_() % 2 == 0 ? ~uint64_t{0} << (static_cast<uint64_t>(mantissa) - random_() % 6) : ~uint64_t{0};
    const auto reach = static_cast<uint64_t>(random_() % 4 == 0 ? bias : std::min(bias, 40));
    const uint64_t exponent = static_cast<uint64_t>(bias) - reach + random_() % (2 * reach);
    const uint64_t sign = random_() % 2 << (mantissa == 52 ? 63 : mantissa == 23 ? 31 : 15);
    return sign | exponent << mantissa | (random_() & ((uint64_t{1} << mantissa) - 1) & few);
  }

  std::mt19937_64 random_;
};

std::vector<differential::Inputs> random_inputs(uint64_t seed) {
  Chance chance(seed);
  std::vector<differential::Inputs> inputs(kThreads);
  for (differential::Inputs& each : inputs) {
    for (uint64_t& value : each.whole) value = chance.whole();
    for (double& value : each.real) value = chance.real();
    for (float& value : each.single) value = chance.single();
    for (differential::Half& value : each.half) value = chance.small<differential::Half>(15, 10);
    for (differential::Bfloat& value : each.bfloat) value = chance.small<differential::Bfloat>(127, 7);
  }
  return inputs;
}

std::string read_file(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw std::runtime_error(fmt::format("{} cannot be read", path));
  return text.str();
}

differential::ProgramTable host_programs(const char* path) {
  void* const library = dlopen(path, RTLD_NOW);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const auto programs = reinterpret_cast<differential::ProgramTable (*)()>(dlsym(library, "annulus_programs"));
  if (programs == nullptr) throw std::runtime_error(fmt::format("{} has no annulus_programs", path));
  return programs();
}

class Comparison {
 public:
  Comparison(const char* ptx, const differential::ProgramTable& table)
      : ptx_(ptx), table_(table), module_(read_file(ptx), memory_) {}

  /// Says which programs differ, each once, and returns whether none does.
  bool run(uint64_t sets) {
    size_t wrong = 0;
    for (size_t i = 0; i < table_.count; ++i) {
      bool right = true;
      for (uint64_t set = 1; right && set <= sets; ++set) right = agrees(table_.programs[i], set);
      wrong += right ? 0 : 1;
    }
    fmt::print("{}: {} programs with {} inputs each, {} differ\n", ptx_, table_.count, kThreads * sets, wrong);
    return wrong == 0 && table_.count > 0;
  }

 private:
  bool agrees(const differential::HostProgram& program, uint64_t set) {
    const std::vector<differential::Inputs> inputs = random_inputs(set);
    std::vector<uint64_t> host(kThreads * table_.cells);
    const uint64_t from = memory_.upload(inputs, "inputs"), to = memory_.upload(host, "cells");
    for (size_t thread = 0; thread < kThreads; ++thread)
      program.run(inputs[thread], host.data() + thread * table_.cells);
    const std::string kernel = fmt::format("kernel_{}", program.number);
    Options options;
    options.seed = set - 1;
    try {
      launch(module_.kernel(kernel), memory_, {}, {kThreads}, arguments(from, to), options);
    } catch (const std::exception& error) {
      fmt::print("{}: {}\n", ptx_, error.what());
      return false;
    }
    const std::vector<uint64_t> device = memory_.download<uint64_t>(to, host.size());
    memory_.release(from);
    memory_.release(to);
    const auto at =
        static_cast<size_t>(std::mismatch(device.begin(), device.end(), host.begin()).first - device.begin());
    if (at == host.size()) return true;
    fmt::print("{}: {}, inputs {} of thread {}, cell {}: {:#x} on the device, {:#x} on the host\n", ptx_, kernel, set,
               at / table_.cells, at % table_.cells, device[at], host[at]);
    return false;
  }

  const char* ptx_;
  const differential::ProgramTable& table_;
  Memory memory_;
  LoadedModule module_;
};

}  // namespace
}  // namespace annulus::cudasim

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "differential_test PROGRAMS.so INPUTS PROGRAMS.ptx...\n");
    return 64;
  }
  try {
    using annulus::cudasim::Comparison;
    const auto table = annulus::cudasim::host_programs(argv[1]);
    bool right = true;
    for (int i = 3; i < argc; ++i) right = Comparison(argv[i], table).run(std::stoull(argv[2])) && right;
    return right ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
