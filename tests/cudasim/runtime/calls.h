#pragma once
// What the entry points of the simulated CUDA runtime share.
#include <cuda_runtime_api.h>

#include <exception>

#include "tests/cudasim/runtime/simulation.h"

namespace annulus::cudasim {

/// The error that cudaGetLastError() tells the calling thread of.
cudaError_t remember(cudaError_t error);
cudaError_t take_last_error();
cudaError_t last_error();

/// A call of the runtime: others go on before it by chance. Without a simulation it fails as without a driver, and in
/// one that has failed as after a kernel's fault.
template <class Body>
cudaError_t call(Body body, bool may_be_killed = true) {
  if (!Simulation::active()) return remember(cudaErrorInsufficientDriver);
  Simulation& simulation = Simulation::current();
  if (!simulation.enter(may_be_killed)) return remember(cudaErrorLaunchFailure);
  try {
    return remember(body(simulation));
  } catch (const std::exception&) {
    simulation.fail(std::current_exception());
    return remember(cudaErrorUnknown);
  }
}

/// For destructors, which must not throw.
template <class Body>
cudaError_t last_call(Body body) {
  return call(body, false);
}

/// The stream of a handle, or null for one that is none. Zero is the device's default stream.
Stream* stream_of(Simulation& simulation, cudaStream_t handle);

/// Whether the pointer is an address of a device.
inline bool on_device(const void* pointer) {
  const auto address = reinterpret_cast<uint64_t>(pointer);
  return address >= kGlobalWindow && address < kSharedWindow;
}

}  // namespace annulus::cudasim
