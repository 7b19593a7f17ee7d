#pragma once
// What can be known of the product's kernels without a GPU: what ptxas made of each, and what their memory accesses
// come to on tensors that begin and end with words of 16 bytes.
#include <array>
#include <map>
#include <string>
#include <vector>

#include "tests/cudasim/ptx/statistics.h"
#include "tests/cudasim/runtime/device_model.h"
#include "tests/cudasim/runtime/fat_binary.h"

namespace annulus::cudasim {

inline constexpr std::array kModels = {DeviceModel::kA100, DeviceModel::kH100, DeviceModel::kB200};

struct KernelResources {
  std::string name;          // "swiglu_forward_kernel<4, float>"
  int threads = 0;           // of a block
  CompiledKernel a100;       // for sm_80
  CompiledKernel h100;       // for sm_90a
  std::array<int, 3> warps;  // of a multiprocessor of each of kModels at a time; B200 with the registers of sm_90a
};

/// Of every kernel of the program, by name.
std::vector<KernelResources> kernel_resources();

/// A kernel's accesses to global memory in one launch or more.
struct KernelTraffic {
  std::string name;
  std::string passes;    // which tensor is read or written how often: "x 2, gain 1 a token, y 1"
  int64_t elements = 0;  // of the tensor that is its work
  int64_t bytes = 0;     // that these passes come to
  Statistics statistics;

  double sectors_of_fewest() const {
    return 32.0 * static_cast<double>(statistics.total.sectors) / static_cast<double>(bytes);
  }
  /// Of threads.
  double instructions_per_element() const;
  /// The instructions that move at least a fiftieth of its sectors.
  std::vector<Statistics::Line> main_accesses() const;
};

/// Runs each kernel for words of 16 bytes once.
std::vector<KernelTraffic> kernel_traffic();

}  // namespace annulus::cudasim
