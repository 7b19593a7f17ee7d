#pragma once

#include "tests/cudasim/runtime/simulation.h"

namespace annulus::cudasim {

/// Runs a kernel from its first block to its last when its turn has come. `arguments` point to the values, which are
/// copied here.
class KernelWork : public Work {
 public:
  KernelWork(const Program& program, Dim3 grid, Dim3 block, void** arguments, uint32_t dynamic_shared_bytes);
  bool step(Simulation& simulation, Stream& stream) override;

 private:
  const Program& program_;
  Dim3 grid_, block_;
  Arguments arguments_;
  uint32_t dynamic_shared_bytes_;
};

}  // namespace annulus::cudasim
