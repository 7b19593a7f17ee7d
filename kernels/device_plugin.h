#pragma once
// Opens the plugin that brings kernels for GPUs (kernels/device_ops.h) and says what this machine has of what it needs.
// Only --device=cuda and --version come here: opening it loads CUDA's libraries, which costs a part of a second and
// hundreds of MB of address space.
#include <string>
#include <vector>

#include "kernels/device_ops.h"

namespace annulus {

/// What was found, in words that go behind "...: ", and what it takes to mend it.
struct DeviceReport {
  const DeviceOps* ops = nullptr;    // null: no plugin that fits
  std::string found;                 // "2 GPUs, driver for CUDA 13.0", "this machine has no NVIDIA driver"
  std::string mend;                  // what would help; empty: kernels can run
  std::vector<std::string> devices;  // a line for each GPU: name, memory, compute capability

  bool ready() const { return mend.empty(); }
};

/// The plugin at `path`, or, where that is empty, libannulus_cuda.so in the program's directory; it stays open.
/// Whatever is missing is said in the report, never thrown.
DeviceReport look_for_devices(const std::string& path);

}  // namespace annulus
