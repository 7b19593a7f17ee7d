// Kernels: how objects of nvcc announce them, launches, and what is known of them.
#include <fmt/format.h>

#include <algorithm>

#include "tests/cudasim/runtime/calls.h"
#include "tests/cudasim/runtime/device_model.h"
#include "tests/cudasim/runtime/kernel_registry.h"
#include "tests/cudasim/runtime/kernel_work.h"

using namespace annulus::cudasim;

namespace {

// What <<<...>>> hands from the place of the call to the kernel's stub.
struct Configuration {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

Dim3 to_dim(dim3 d) { return {d.x, d.y, d.z}; }

cudaError_t launch_kernel(const void* stub, dim3 grid, dim3 block, void** arguments, size_t shared_bytes,
                          cudaStream_t handle) {
  return call([&](Simulation& simulation) {
    RegisteredKernel* const kernel = KernelRegistry::instance().kernel(stub);
    Stream* const stream = stream_of(simulation, handle);
    if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    const uint64_t threads = uint64_t{block.x} * block.y * block.z, blocks = uint64_t{grid.x} * grid.y * grid.z;
    if (blocks == 0 || threads == 0 || threads > 1024 || grid.y > 65535 || grid.z > 65535 || block.z > 64)
      return cudaErrorInvalidConfiguration;
    if (shared_bytes > kernel->dynamic_shared_limit) return cudaErrorInvalidValue;
    const Program& program = simulation.module_on(stream->device, kernel->code->module()).kernel(kernel->name);
    simulation.enqueue(*stream, std::make_unique<KernelWork>(program, to_dim(grid), to_dim(block), arguments,
                                                             static_cast<uint32_t>(shared_bytes)));
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

// ---- called by nvcc's objects before main, and by the stubs of kernels
struct FatBinaryWrapper {
  int magic, version;
  const void* bytes;
  void* file;
};
void** __cudaRegisterFatBinary(void* wrapper) {
  return reinterpret_cast<void**>(KernelRegistry::instance().add_code(static_cast<FatBinaryWrapper*>(wrapper)->bytes));
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void** code, const char* stub, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  KernelRegistry::instance().add_kernel(stub, reinterpret_cast<DeviceCode*>(code), name);
}
void __cudaRegisterVar(void** code, char* stub, char*, const char* name, int, size_t, int, int) {
  KernelRegistry::instance().add_variable(stub, reinterpret_cast<DeviceCode*>(code), name);
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes, struct CUstream_st* stream) {
  configurations.push_back({grid, block, shared_bytes, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_bytes, void* stream) {
  if (configurations.empty()) return cudaErrorInvalidConfiguration;
  const Configuration last = configurations.back();
  configurations.pop_back();
  *grid = last.grid, *block = last.block, *shared_bytes = last.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = last.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(stub));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared_bytes,
                               cudaStream_t stream) {
  return launch_kernel(kernel, grid, block, arguments, shared_bytes, stream);
}

// ---- called by programs
cudaError_t cudaLaunchKernel(const void* stub, dim3 grid, dim3 block, void** arguments, size_t shared_bytes,
                             cudaStream_t stream) {
  return launch_kernel(stub, grid, block, arguments, shared_bytes, stream);
}
// Attributes change how a kernel starts (clusters, early starts), which is not simulated.
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* stub, void** arguments) {
  if (config->numAttrs != 0) return remember(cudaErrorNotSupported);
  return launch_kernel(stub, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes, config->stream);
}

cudaError_t cudaFuncSetAttribute(const void* stub, cudaFuncAttribute attribute, int value) {
  return call([&](Simulation&) {
    RegisteredKernel* const kernel = KernelRegistry::instance().kernel(stub);
    if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;  // a hint
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaErrorNotSupported;
    if (value < 0 || static_cast<size_t>(value) > properties_of(DeviceModel::kA100).sharedMemPerBlockOptin)
      return cudaErrorInvalidValue;
    kernel->dynamic_shared_limit = static_cast<uint32_t>(value);
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* stub) {
  return call([&](Simulation&) {
    RegisteredKernel* const kernel = KernelRegistry::instance().kernel(stub);
    if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
    *attributes = {};
    attributes->maxThreadsPerBlock = 1024;
    attributes->ptxVersion = attributes->binaryVersion = 80;
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(kernel->dynamic_shared_limit);
    if (const CompiledKernel* compiled = kernel->code->compiled(80, kernel->name)) {
      attributes->numRegs = static_cast<int>(compiled->registers);
      attributes->sharedSizeBytes = compiled->shared_bytes;
      attributes->localSizeBytes = compiled->local_bytes;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* stub, int threads,
                                                                   size_t shared_bytes, unsigned) {
  cudaFuncAttributes kernel;
  if (const cudaError_t error = cudaFuncGetAttributes(&kernel, stub)) return error;
  *blocks =
      resident_blocks(DeviceModel::kA100, threads, std::max(kernel.numRegs, 1), kernel.sharedSizeBytes, shared_bytes);
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* stub, int threads,
                                                          size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, stub, threads, shared_bytes, 0);
}

cudaError_t cudaGetSymbolAddress(void** pointer, const void* symbol) {
  return call([&](Simulation& simulation) {
    const RegisteredVariable* const variable = KernelRegistry::instance().variable(symbol);
    if (variable == nullptr) return cudaErrorInvalidSymbol;
    LoadedModule& module = simulation.module_on(simulation.host().device, variable->code->module());
    *pointer = reinterpret_cast<void*>(module.address_of(variable->name));
    return cudaSuccess;
  });
}

}  // extern "C"
