#include "kernels/cuda/memory.h"

#include <cuda_runtime.h>

#include <cstring>
#include <string>

namespace annulus::cuda {
namespace {

cudaStream_t stream_of(DeviceStream stream) { return static_cast<cudaStream_t>(stream); }

// CUDA remembers an error until somebody asks for the last one, as launched() does after the next launch. What is told
// here shall not come out there as well.
DeviceError told(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}

DeviceState state_of(cudaError_t error, int driver_version) {
  switch (error) {
    case cudaSuccess:
      return DeviceState::kReady;
    case cudaErrorInsufficientDriver:  // also where there is none
      return driver_version == 0 ? DeviceState::kNoDriver : DeviceState::kOldDriver;
    case cudaErrorNoDevice:
      return DeviceState::kNoDevice;
    default:
      return DeviceState::kOther;
  }
}

}  // namespace

const char* error_text(DeviceError error) {
  thread_local std::string text;
  const auto code = static_cast<cudaError_t>(error);
  text = std::string(cudaGetErrorName(code)) + ": " + cudaGetErrorString(code);
  return text.c_str();
}

DeviceSummary summary() {
  int driver = 0, count = 0;  // the calls leave them alone where they fail
  cudaDriverGetVersion(&driver);
  const auto error = static_cast<cudaError_t>(told(cudaGetDeviceCount(&count)));
  const DeviceState state = state_of(error, driver);
  return {.state = state, .driver_version = driver, .count = count, .error = error};
}

DeviceError facts(int32_t device, DeviceFacts* facts) {
  cudaDeviceProp found;
  if (const DeviceError error = told(cudaGetDeviceProperties(&found, device))) return error;
  constexpr size_t kRoom = sizeof(facts->name) - 1;
  std::strncpy(facts->name, found.name, kRoom);
  facts->name[kRoom] = '\0';
  facts->memory_bytes = static_cast<int64_t>(found.totalGlobalMem);
  facts->compute_capability = 10 * found.major + found.minor;
  return cudaSuccess;
}

DeviceError select(int32_t device) { return told(cudaSetDevice(device)); }

DeviceError allocate(void** memory, int64_t bytes) { return told(cudaMalloc(memory, static_cast<size_t>(bytes))); }

DeviceError release(void* memory) { return told(cudaFree(memory)); }

// It does not wait for the default stream, which nothing uses.
DeviceError open_stream(DeviceStream* stream) {
  cudaStream_t made = nullptr;
  const DeviceError error = told(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
  *stream = made;
  return error;
}

DeviceError close_stream(DeviceStream stream) { return told(cudaStreamDestroy(stream_of(stream))); }

DeviceError finish(DeviceStream stream) { return told(cudaStreamSynchronize(stream_of(stream))); }

DeviceError copy(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  return told(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream_of(stream)));
}

DeviceError fill_zero(void* memory, int64_t bytes, DeviceStream stream) {
  return told(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream_of(stream)));
}

}  // namespace annulus::cuda
