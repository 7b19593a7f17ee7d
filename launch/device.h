#pragma once
// --device and --cuda-plugin, and what --version says about GPUs.
#include <string>

#include "runtime/core/capabilities.h"

namespace annulus {

/// As on the command line.
struct DeviceOptions {
  std::string device = "cpu";
  std::string cuda_plugin;  // path of libannulus_cuda.so; "": beside the program
};

/// Throws UserError (64) where the command does not run on that device: what this machine lacks for it, and how to mend
/// that, or else what this version lacks. Opens the plugin only for cuda.
void require_device(Command command, const DeviceOptions& options);

/// Lines for --version: the plugin, and the GPUs it sees, or what is missing.
std::string device_page(const std::string& cuda_plugin);

}  // namespace annulus
