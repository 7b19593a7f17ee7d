#include "tests/cudasim/runtime/kernel_work.h"

#include "tests/cudasim/runtime/kernel_registry.h"

namespace annulus::cudasim {

KernelWork::KernelWork(const Program& program, Dim3 grid, Dim3 block, void** arguments, uint32_t dynamic_shared_bytes)
    : Work("kernel " + readable_name(program.kernel)),
      program_(program),
      grid_(grid),
      block_(block),
      dynamic_shared_bytes_(dynamic_shared_bytes) {
  for (size_t i = 0; i < program.parameters.size(); ++i) {
    const auto* bytes = static_cast<const uint8_t*>(arguments[i]);
    arguments_.emplace_back(bytes, bytes + program.parameters[i].size);
  }
}

bool KernelWork::step(Simulation& simulation, Stream& stream) {
  simulation.begin(stream, *this);
  Options options = simulation.options().kernels;
  options.seed = simulation.options().seed == 0 ? 0 : simulation.chance().next() | 1;
  options.observer = simulation.races();
  options.dynamic_shared_bytes = dynamic_shared_bytes_;
  options.visible_devices = simulation.visible_from(stream.device);
  simulation.add_statistics(readable_name(program_.kernel),
                            launch(program_, simulation.memory(), grid_, block_, arguments_, options));
  return true;
}

}  // namespace annulus::cudasim
