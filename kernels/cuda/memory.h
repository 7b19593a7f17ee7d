#pragma once
// Devices, their memory and their streams, as kernels/device_ops.h has them.
#include "kernels/device_ops.h"

namespace annulus::cuda {

/// The least compute capability that the kernels run on: 80 is 8.0.
constexpr int32_t kLeastCapability = 80;

const char* error_text(DeviceError error);
DeviceSummary summary();
DeviceError facts(int32_t device, DeviceFacts* facts);

DeviceError select(int32_t device);
DeviceError allocate(void** memory, int64_t bytes);
DeviceError release(void* memory);
DeviceError open_stream(DeviceStream* stream);
DeviceError close_stream(DeviceStream stream);
DeviceError finish(DeviceStream stream);
DeviceError copy(void* to, const void* from, int64_t bytes, DeviceStream stream);
DeviceError fill_zero(void* memory, int64_t bytes, DeviceStream stream);

}  // namespace annulus::cuda
