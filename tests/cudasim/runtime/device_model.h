#pragma once

#include <cuda_runtime_api.h>

namespace annulus::cudasim {

/// What the runtime says of a device, and what its occupancy follows from: figures of NVIDIA's programming guide, table
/// of compute capabilities, and of each GPU's data sheet.
enum class DeviceModel { kA100, kH100, kB200 };

cudaDeviceProp properties_of(DeviceModel model);

/// Blocks of a kernel that one multiprocessor holds at a time.
int resident_blocks(DeviceModel model, int threads, int registers, size_t static_shared_bytes,
                    size_t dynamic_shared_bytes);

}  // namespace annulus::cudasim
