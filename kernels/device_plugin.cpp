#include "kernels/device_plugin.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>

#include "runtime/core/error.h"

namespace annulus {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPluginName = "libannulus_cuda.so";

std::string version_of(int32_t cuda) { return concat(cuda / 1000, ".", cuda % 1000 / 10); }

std::string capability_of(int32_t capability) { return concat(capability / 10, ".", capability % 10); }

DeviceReport missing(std::string found, std::string mend) {
  return {.ops = nullptr, .found = std::move(found), .mend = std::move(mend), .devices = {}};
}

// Opens the library; `problem` says why that did not work.
const DeviceOps* open_plugin(const fs::path& path, DeviceReport& problem) {
  const std::string of_this_build = concat("give the ", kPluginName, " that was built with this program");
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    problem = missing(concat("the plugin cannot be loaded: ", dlerror()),
                      concat(of_this_build,
                             "; CUDA's own libraries are found where it was built, or in "
                             "LD_LIBRARY_PATH"));
    return nullptr;
  }
  const auto function = reinterpret_cast<DeviceOpsFunction*>(dlsym(library, kDeviceOpsName));
  if (!function) {
    problem = missing(concat(path.string(), " is a library, but no plugin of annulus"), of_this_build);
    return nullptr;
  }
  const DeviceOps* ops = function();
  if (ops->abi == kDeviceAbi && ops->bytes == static_cast<int32_t>(sizeof(DeviceOps))) return ops;
  problem = missing(concat(path.string(), " is the plugin of another version of annulus: its interface is ", ops->abi,
                           " of ", ops->bytes, " bytes, this program's ", kDeviceAbi, " of ", sizeof(DeviceOps)),
                    of_this_build);
  return nullptr;
}

void add_devices(DeviceReport& report, int32_t count) {
  const DeviceOps& ops = *report.ops;
  int32_t best = 0;
  for (int32_t i = 0; i < count; ++i) {
    DeviceFacts facts = {};
    if (const DeviceError error = ops.facts(i, &facts)) {
      report.devices.push_back(concat("GPU ", i, ": ", ops.error_text(error)));
      continue;
    }
    const bool old = facts.compute_capability < ops.compute_capability;
    best = std::max(best, facts.compute_capability);
    report.devices.push_back(concat("GPU ", i, ": ", facts.name, ", ", facts.memory_bytes >> 20,
                                    " MiB, compute capability ", capability_of(facts.compute_capability),
                                    old ? ", too old" : ""));
  }
  if (best < ops.compute_capability)
    report.mend = concat("it takes one of compute capability ", capability_of(ops.compute_capability), " or newer");
}

// What the machine has, in front of a plugin that fits.
DeviceReport report_on(const DeviceOps* ops) {
  const DeviceSummary machine = ops->summary();
  const std::string built_with = version_of(ops->runtime_version), driver = version_of(machine.driver_version);
  DeviceReport report = {.ops = ops, .found = {}, .mend = {}, .devices = {}};
  switch (machine.state) {
    case DeviceState::kNoDriver:
      report.found = "this machine has no NVIDIA driver (libcuda.so.1 is not found)";
      report.mend = concat("install one for CUDA ", built_with,
                           " or newer; a container is given its host's, for example by docker run --gpus=all");
      break;
    case DeviceState::kOldDriver:
      report.found =
          concat("the NVIDIA driver is too old: it is for CUDA ", driver, ", and the plugin for ", built_with);
      report.mend =
          concat("update the driver (nvidia-smi says which CUDA it is for), or build annulus with a toolkit of ",
                 "CUDA ", driver);
      break;
    case DeviceState::kNoDevice:
      report.found = concat("there is an NVIDIA driver, for CUDA ", driver, ", but it shows no GPU");
      report.mend = "see what nvidia-smi -L lists, and whether CUDA_VISIBLE_DEVICES hides it";
      break;
    case DeviceState::kOther:
      report.found = concat("the NVIDIA driver, for CUDA ", driver, ", fails: ", ops->error_text(machine.error));
      report.mend = "see what nvidia-smi says";
      break;
    case DeviceState::kReady:
      report.found = concat(machine.count, machine.count == 1 ? " GPU" : " GPUs", ", driver for CUDA ", driver);
      add_devices(report, machine.count);
  }
  return report;
}

}  // namespace

DeviceReport look_for_devices(const std::string& path) {
  std::error_code none;
  const bool given = !path.empty();
  const fs::path file =
      given ? fs::absolute(path, none) : fs::read_symlink("/proc/self/exe", none).replace_filename(kPluginName);
  if (!fs::exists(file, none))
    return given ? missing(concat("there is no file ", path), concat("give the path of ", kPluginName))
                 : missing(concat("this build has no CUDA plugin (", file.string(), ")"),
                           "build annulus where the CUDA toolkit is (cmake --preset cuda), or give the path of the "
                           "plugin by --cuda-plugin=PATH");
  if (!fs::is_regular_file(file, none))
    return missing(concat(file.string(), " is no file"), concat("give the path of ", kPluginName));
  DeviceReport problem;
  const DeviceOps* ops = open_plugin(file, problem);
  return ops ? report_on(ops) : problem;
}

}  // namespace annulus
