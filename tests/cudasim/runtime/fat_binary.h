#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/cudasim/ptx/module.h"

namespace annulus::cudasim {

/// What ptxas made of a kernel for one architecture, from the ELF that nvcc embedded beside the PTX.
struct CompiledKernel {
  uint32_t registers = 0;     // of a thread
  uint32_t shared_bytes = 0;  // static, of a block
  uint32_t local_bytes = 0;   // of a thread
};

/// The device code of one translation unit as nvcc embeds it.
struct FatBinary {
  std::string ptx;                                                // of the newest PTX in it
  std::map<int, std::map<std::string, CompiledKernel>> compiled;  // by architecture (80, 90), then by kernel
};

/// Reads the bytes that begin with the magic ba55ed50. Throws PtxError where they are damaged, compressed or hold no
/// PTX.
FatBinary read_fat_binary(const void* bytes);

/// Registers and memory of every kernel of a cubin (an ELF file for the GPU).
std::map<std::string, CompiledKernel> read_cubin(const uint8_t* bytes, size_t size);

}  // namespace annulus::cudasim
