// Random straight-line programs, compiled by nvcc and interpreted, against the same text compiled by g++: every bit of
// every result. NaN counts as one value. Left out is what only approximates (docs/CUDASIM.md).
//
// differential_test PROGRAMS.ptx PROGRAMS.so [seed of the inputs]

#include <dlfcn.h>
#include <fmt/format.h>

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
    constexpr uint64_t kEdges[] = {0,          1,          0x7f,       0x80,        0xff,
                                   0x7fff,     0x8000,     0xffff,     0x7fffffff,  0x80000000,
                                   0xffffffff, 0xff800000, ~uint64_t{0} >> 1, uint64_t{1} << 63, ~uint64_t{0}};
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
    constexpr uint32_t kEdges[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 1,         0x807fffff,
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
    const uint64_t few = random_() % 2 == 0 ? ~uint64_t{0} << (static_cast<uint64_t>(mantissa) - random_() % 6) : ~uint64_t{0};
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
  Comparison(const char* ptx, const char* library, uint64_t seed)
      : table_(host_programs(library)), inputs_(random_inputs(seed)), module_(read_file(ptx), memory_) {
    from_ = memory_.upload(inputs_, "inputs");
  }

  bool run() {
    size_t wrong = 0;
    for (size_t i = 0; i < table_.count; ++i) wrong += agrees(table_.programs[i], i % 2) ? 0 : 1;
    fmt::print("{} programs with {} inputs each: {} differ\n", table_.count, kThreads, wrong);
    return wrong == 0 && table_.count > 0;
  }

 private:
  bool agrees(const differential::HostProgram& program, uint64_t schedule) {
    const std::string kernel = fmt::format("kernel_{}", program.number);
    std::vector<uint64_t> host(kThreads * table_.cells);
    const uint64_t cells = memory_.upload(host, "cells");
    for (size_t thread = 0; thread < kThreads; ++thread)
      program.run(inputs_[thread], host.data() + thread * table_.cells);
    Options options;
    options.seed = schedule;
    try {
      launch(module_.kernel(kernel), memory_, {}, {kThreads}, arguments(from_, cells), options);
    } catch (const std::exception& error) {
      fmt::print("{}\n", error.what());
      return false;
    }
    const std::vector<uint64_t> device = memory_.download<uint64_t>(cells, host.size());
    memory_.release(cells);
    for (size_t i = 0; i < host.size(); ++i) {
      if (device[i] == host[i]) continue;
      fmt::print("{}, thread {}, cell {}: {:#x} on the device, {:#x} on the host\n", kernel, i / table_.cells,
                 i % table_.cells, device[i], host[i]);
      return false;
    }
    return true;
  }

  differential::ProgramTable table_;
  std::vector<differential::Inputs> inputs_;
  Memory memory_;
  LoadedModule module_;
  uint64_t from_;
};

}  // namespace
}  // namespace annulus::cudasim

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "differential_test PROGRAMS.ptx PROGRAMS.so [seed of the inputs]\n");
    return 64;
  }
  try {
    return annulus::cudasim::Comparison(argv[1], argv[2], argc > 3 ? std::stoull(argv[3]) : 1).run() ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
