#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tests/cudasim/ptx/fault.h"
#include "tests/cudasim/ptx/memory.h"
#include "tests/cudasim/ptx/observer.h"
#include "tests/cudasim/ptx/program.h"
#include "tests/cudasim/ptx/statistics.h"

namespace annulus::cudasim {

struct Options {
  uint64_t seed = 0;  // 0: blocks, warps and lanes in their order; others: every choice by chance
  enum class Copies { kEarly, kLate, kMixed } copies = Copies::kLate;  // when cp.async lands: at its issue, at the wait
  uint32_t resident_blocks = 4;                                        // that run interleaved; 1: one after the other
  // Whether blocks begin in the order of their numbers whatever the seed. CUDA promises no order, GPUs have this one,
  // and kernels whose blocks wait for blocks before them (CUB's scans) rest upon it.
  bool blocks_begin_in_order = false;
  uint32_t dynamic_shared_bytes = 0;
  uint64_t max_instructions = 4'000'000'000;  // of warps; a launch that needs more is taken to be endless
  bool statistics = true;
  bool check_written = true;    // reads of memory that nobody wrote are faults
  bool check_in_flight = true;  // accesses to what an asynchronous copy may still be writing are faults
  Observer* observer = nullptr;
  uint64_t visible_devices = ~uint64_t{0};  // bit d: device d's memory may be accessed
};

/// A kernel's arguments, each as the bytes of its parameter.
using Arguments = std::vector<std::vector<uint8_t>>;

template <class... Values>
Arguments arguments(const Values&... values) {
  static_assert((std::is_trivially_copyable_v<Values> && ...));
  [[maybe_unused]] const auto bytes = [](const auto& value) {
    std::vector<uint8_t> raw(sizeof(value));
    std::memcpy(raw.data(), &value, sizeof(value));
    return raw;
  };
  return {bytes(values)...};
}

/// PTX loaded onto a device: its variables have addresses there.
class LoadedModule {
 public:
  /// Throws PtxError for text that cannot be read.
  LoadedModule(std::string_view ptx, Memory& memory);
  LoadedModule(std::shared_ptr<const Module> module, Memory& memory, int device);
  /// Throws PtxError for an unknown kernel (a unique part of its name will do) or instruction.
  const Program& kernel(const std::string& name);
  uint64_t address_of(const std::string& variable) const;

 private:
  std::shared_ptr<const Module> module_;
  std::map<std::string, uint64_t> addresses_;
  std::map<std::string, std::unique_ptr<Program>> kernels_;
};

/// Runs the grid to its end and throws DeviceFault at the first thing that is wrong.
Statistics launch(const Program& program, Memory& memory, Dim3 grid, Dim3 block, const Arguments& arguments,
                  const Options& options = {});

}  // namespace annulus::cudasim
