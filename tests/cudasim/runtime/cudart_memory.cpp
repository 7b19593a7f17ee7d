// Memory: allocations, copies, fills. Every copy is asynchronous, also one from or to memory of the host that is not
// pinned, for nothing may rely on the driver's staging.
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "tests/cudasim/runtime/calls.h"
#include "tests/cudasim/runtime/memory_work.h"

using namespace annulus::cudasim;

namespace {

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

cudaError_t make(void** pointer, size_t bytes, const char* how) {
  return call([&](Simulation& simulation) {
    Host& host = simulation.host();
    if (simulation.used_bytes(host.device) + bytes > simulation.options().device_bytes)
      return cudaErrorMemoryAllocation;
    const std::string name =
        fmt::format("allocation {} ({} {} of rank {})", simulation.next_name(), bytes, how, host.rank);
    *pointer = bytes == 0 ? nullptr : reinterpret_cast<void*>(simulation.memory().allocate(bytes, name, host.device));
    return cudaSuccess;
  });
}

bool is_allocation(Simulation& simulation, void* pointer) {
  const Region* region = simulation.memory().find(address_of(pointer));
  return on_device(pointer) && region != nullptr && region->live && region->base == address_of(pointer);
}

// Whoever still uses the memory, or comes to use it, and is not ordered with this is in a race.
void claim(Simulation& simulation, uint64_t address, uint64_t bytes) {
  if (RaceDetector* races = simulation.races()) races->touch(address, bytes, MemoryAccess::Kind::kWrite);
}

cudaError_t enqueue_copy(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t rows,
                         cudaStream_t handle, bool wait) {
  return call([&](Simulation& simulation) {
    Stream* stream = stream_of(simulation, handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (width > to_pitch || width > from_pitch) return cudaErrorInvalidPitchValue;
    const Awaited done = simulation.enqueue(
        *stream,
        std::make_unique<CopyWork>(Plane{address_of(to), to_pitch}, Plane{address_of(from), from_pitch}, width, rows));
    if (!wait) return cudaSuccess;
    if (!simulation.wait_until(done->name, [done] { return done->reached; })) return cudaErrorLaunchFailure;
    simulation.learn(done);
    return cudaSuccess;
  });
}

cudaError_t enqueue_fill(void* to, int value, size_t bytes, cudaStream_t handle) {
  return call([&](Simulation& simulation) {
    Stream* stream = stream_of(simulation, handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    simulation.enqueue(*stream, std::make_unique<FillWork>(address_of(to), static_cast<uint8_t>(value), bytes));
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) { return make(pointer, bytes, "bytes"); }

// Waits until the device is idle, as the real one does.
cudaError_t cudaFree(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  return last_call([&](Simulation& simulation) {
    if (!is_allocation(simulation, pointer)) return cudaErrorInvalidValue;
    const Region& region = *simulation.memory().find(address_of(pointer));
    std::vector<Awaited> all;
    for (const auto& stream : simulation.streams())
      if (stream->device == region.device && stream->last != nullptr) all.push_back(stream->last);
    for (const Awaited& last : all) {
      if (!simulation.wait_until("the end of its device's streams, to free memory", [last] { return last->reached; }))
        return cudaErrorLaunchFailure;
      simulation.learn(last);
    }
    simulation.begin_on_host("cudaFree");
    claim(simulation, region.base, region.size);
    simulation.release(address_of(pointer));
    return cudaSuccess;
  });
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t handle) {
  if (const cudaError_t error = make(pointer, bytes, "bytes in the order of a stream"); error || bytes == 0)
    return error;
  return call([&](Simulation& simulation) {
    Stream* stream = stream_of(simulation, handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    const uint64_t address = address_of(*pointer);
    simulation.enqueue(*stream, std::make_unique<Moment>(
                                    "allocation", [=](Simulation& simulated) { claim(simulated, address, bytes); }));
    return cudaSuccess;
  });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t handle) {
  if (pointer == nullptr) return cudaSuccess;
  return last_call([&](Simulation& simulation) {
    Stream* stream = stream_of(simulation, handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (!is_allocation(simulation, pointer)) return cudaErrorInvalidValue;
    const uint64_t address = address_of(pointer), bytes = simulation.memory().find(address)->size;
    simulation.enqueue(*stream, std::make_unique<Moment>("the end of an allocation", [=](Simulation& simulated) {
      claim(simulated, address, bytes);
      simulated.release(address);
    }));
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  *pool = reinterpret_cast<cudaMemPool_t>(static_cast<intptr_t>(device) + 1);
  return cudaSuccess;
}
// How much a pool keeps is the driver's business; here addresses are never given out twice.
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return call([&](Simulation&) {
    *pointer = std::malloc(bytes);
    return *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) { return cudaMallocHost(pointer, bytes); }
cudaError_t cudaFreeHost(void* pointer) {
  return last_call([&](Simulation&) {
    std::free(pointer);
    return cudaSuccess;
  });
}
cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  return call([&](Simulation& simulation) {
    *total = simulation.options().device_bytes;
    *free_bytes = *total - simulation.used_bytes(simulation.host().device);
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call([&](Simulation& simulation) {
    *attributes = {};
    const Region* region = on_device(pointer) ? simulation.memory().find(address_of(pointer)) : nullptr;
    attributes->type = region != nullptr ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
    attributes->device = region != nullptr ? region->device : -2;
    attributes->devicePointer = region != nullptr ? const_cast<void*>(pointer) : nullptr;
    attributes->hostPointer = region != nullptr ? nullptr : const_cast<void*>(pointer);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return enqueue_copy(to, bytes, from, bytes, bytes, 1, stream, false);
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  return enqueue_copy(to, bytes, from, bytes, bytes, 1, nullptr, true);
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream) {
  return enqueue_copy(to, bytes, from, bytes, bytes, 1, stream, false);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t rows,
                              cudaMemcpyKind, cudaStream_t stream) {
  return enqueue_copy(to, to_pitch, from, from_pitch, width, rows, stream, false);
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return enqueue_fill(to, value, bytes, stream);
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) { return enqueue_fill(to, value, bytes, nullptr); }

}  // extern "C"
