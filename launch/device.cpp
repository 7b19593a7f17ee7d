#include "launch/device.h"

#include "kernels/device_plugin.h"
#include "runtime/core/error.h"

namespace annulus {

void require_device(Command command, const DeviceOptions& options) {
  const bool cuda = options.device == "cuda";
  require(cuda || options.cuda_plugin.empty(), "--cuda-plugin is of no use on device ", options.device,
          "; leave it out, or give --device=cuda");
  if (cuda) {
    const DeviceReport report = look_for_devices(options.cuda_plugin);
    require(report.ready(), "device cuda (--device): ", report.found, "; ", report.mend,
            ". Whatever it has, this version runs on CPUs: use --device=cpu");
  }
  require_supported(command, {{"device", options.device}});
}

std::string device_page(const std::string& cuda_plugin) {
  const DeviceReport report = look_for_devices(cuda_plugin);
  std::string page = "CUDA: ";
  if (report.ops)
    page +=
        concat("plugin with ", report.ops->libraries, ", for compute capabilities ", report.ops->architectures, "; ");
  page += report.found + (report.ready() ? "" : "; " + report.mend) + "\n";
  for (const std::string& device : report.devices) page += device + "\n";
  return page;
}

}  // namespace annulus
