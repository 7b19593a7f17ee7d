#include "tests/cudasim/runtime/device_model.h"

#include <cuda_occupancy.h>

#include <cstring>
#include <stdexcept>

namespace annulus::cudasim {

cudaDeviceProp properties_of(DeviceModel model) {
  cudaDeviceProp device{};
  const char* const names[] = {"simulated A100", "simulated H100", "simulated B200"};
  std::strcpy(device.name, names[static_cast<int>(model)]);
  device.major = model == DeviceModel::kA100 ? 8 : model == DeviceModel::kH100 ? 9 : 10;
  device.minor = 0;
  device.multiProcessorCount = model == DeviceModel::kA100 ? 108 : model == DeviceModel::kH100 ? 132 : 148;
  device.warpSize = 32;
  device.maxThreadsPerBlock = 1024;
  device.maxThreadsPerMultiProcessor = 2048;
  device.maxBlocksPerMultiProcessor = 32;
  device.regsPerBlock = device.regsPerMultiprocessor = 65536;
  device.sharedMemPerBlock = 48 * 1024;
  device.reservedSharedMemPerBlock = 1024;
  device.sharedMemPerMultiprocessor = (model == DeviceModel::kA100 ? 164 : 228) * 1024;
  device.sharedMemPerBlockOptin = device.sharedMemPerMultiprocessor - 1024;
  device.maxThreadsDim[0] = device.maxThreadsDim[1] = 1024, device.maxThreadsDim[2] = 64;
  device.maxGridSize[0] = 0x7fffffff, device.maxGridSize[1] = device.maxGridSize[2] = 65535;
  device.l2CacheSize = (model == DeviceModel::kA100 ? 40 : model == DeviceModel::kH100 ? 50 : 126) << 20;
  device.unifiedAddressing = 1;
  device.concurrentKernels = 1;
  device.memoryPoolsSupported = 1;
  return device;
}

int resident_blocks(DeviceModel model, int threads, int registers, size_t static_shared_bytes,
                    size_t dynamic_shared_bytes) {
  const cudaOccDeviceProp device(properties_of(model));
  cudaOccFuncAttributes kernel;
  kernel.maxThreadsPerBlock = threads;
  kernel.numRegs = registers;
  kernel.sharedSizeBytes = static_shared_bytes;
  kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  kernel.maxDynamicSharedSizeBytes = dynamic_shared_bytes;
  const cudaOccDeviceState state;
  cudaOccResult result;
  if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, dynamic_shared_bytes) !=
      CUDA_OCC_SUCCESS)
    throw std::invalid_argument("a kernel of that shape has no occupancy");
  return result.activeBlocksPerMultiprocessor;
}

}  // namespace annulus::cudasim
