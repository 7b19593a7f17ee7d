// Devices, versions and errors.
#include <algorithm>

#include "tests/cudasim/runtime/calls.h"
#include "tests/cudasim/runtime/device_model.h"

using namespace annulus::cudasim;

namespace {

thread_local cudaError_t thread_error = cudaSuccess;

bool is_device(const Simulation& simulation, int device) {
  return device >= 0 && device < simulation.options().devices;
}

struct Attribute {
  cudaDeviceAttr name;
  int value;
};

}  // namespace

namespace annulus::cudasim {

// "Not ready" is an answer, not an error.
cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) thread_error = error;
  return error;
}
cudaError_t take_last_error() { return std::exchange(thread_error, cudaSuccess); }
cudaError_t last_error() { return thread_error; }

}  // namespace annulus::cudasim

extern "C" {

cudaError_t cudaGetLastError() { return take_last_error(); }
cudaError_t cudaPeekAtLastError() { return last_error(); }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidPitchValue:
      return "cudaErrorInvalidPitchValue";
    case cudaErrorInvalidDeviceFunction:
      return "cudaErrorInvalidDeviceFunction";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorNotSupported:
      return "cudaErrorNotSupported";
    default:
      return "cudaErrorUnknown";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "an error of the simulated runtime";
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = Simulation::active() ? CUDART_VERSION : 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  return call([&](Simulation& simulation) {
    *count = simulation.options().devices;
    return cudaSuccess;
  });
}
cudaError_t cudaSetDevice(int device) {
  return call([&](Simulation& simulation) {
    if (!is_device(simulation, device)) return cudaErrorInvalidDevice;
    simulation.host().device = device;
    return cudaSuccess;
  });
}
cudaError_t cudaGetDevice(int* device) {
  return call([&](Simulation& simulation) {
    *device = simulation.host().device;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call([&](Simulation& simulation) {
    if (!is_device(simulation, device)) return cudaErrorInvalidDevice;
    *properties = properties_of(DeviceModel::kA100);
    properties->totalGlobalMem = simulation.options().device_bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int device) {
  return call([&](Simulation& simulation) {
    if (!is_device(simulation, device)) return cudaErrorInvalidDevice;
    const cudaDeviceProp model = properties_of(DeviceModel::kA100);
    const Attribute known[] = {
        {cudaDevAttrComputeCapabilityMajor, model.major},
        {cudaDevAttrComputeCapabilityMinor, model.minor},
        {cudaDevAttrMultiProcessorCount, model.multiProcessorCount},
        {cudaDevAttrWarpSize, model.warpSize},
        {cudaDevAttrMaxThreadsPerBlock, model.maxThreadsPerBlock},
        {cudaDevAttrMaxThreadsPerMultiProcessor, model.maxThreadsPerMultiProcessor},
        {cudaDevAttrMaxBlocksPerMultiprocessor, model.maxBlocksPerMultiProcessor},
        {cudaDevAttrMaxRegistersPerBlock, model.regsPerBlock},
        {cudaDevAttrMaxRegistersPerMultiprocessor, model.regsPerMultiprocessor},
        {cudaDevAttrMaxSharedMemoryPerBlock, static_cast<int>(model.sharedMemPerBlock)},
        {cudaDevAttrMaxSharedMemoryPerBlockOptin, static_cast<int>(model.sharedMemPerBlockOptin)},
        {cudaDevAttrMaxSharedMemoryPerMultiprocessor, static_cast<int>(model.sharedMemPerMultiprocessor)},
        {cudaDevAttrReservedSharedMemoryPerBlock, static_cast<int>(model.reservedSharedMemPerBlock)},
        {cudaDevAttrMaxGridDimX, model.maxGridSize[0]},
        {cudaDevAttrMaxGridDimY, model.maxGridSize[1]},
        {cudaDevAttrMaxGridDimZ, model.maxGridSize[2]},
        {cudaDevAttrL2CacheSize, model.l2CacheSize},
        {cudaDevAttrUnifiedAddressing, model.unifiedAddressing},
        {cudaDevAttrMemoryPoolsSupported, model.memoryPoolsSupported}};
    const auto found =
        std::find_if(std::begin(known), std::end(known), [&](const Attribute& a) { return a.name == name; });
    if (found == std::end(known)) return cudaErrorNotSupported;
    *value = found->value;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  *can = device != peer;
  return cudaSuccess;
}
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
  return call([&](Simulation& simulation) {
    if (!is_device(simulation, peer)) return cudaErrorInvalidDevice;
    simulation.let_access(simulation.host().device, peer);
    return cudaSuccess;
  });
}

}  // extern "C"
