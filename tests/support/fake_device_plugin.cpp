// A plugin without CUDA, which shows the program whatever machine the variable ANNULUS_FAKE_MACHINE names
// (tests/end_to_end/test_cuda.py).
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/device_ops.h"

namespace annulus {
namespace {

std::string machine() {
  const char* name = std::getenv("ANNULUS_FAKE_MACHINE");
  return name ? name : "";
}

DeviceSummary summary() {
  if (machine() == "no driver") return {DeviceState::kNoDriver, 0, 0, 0};
  if (machine() == "old driver") return {DeviceState::kOldDriver, 12040, 0, 0};
  if (machine() == "no device") return {DeviceState::kNoDevice, 13000, 0, 0};
  if (machine() == "sick driver") return {DeviceState::kOther, 13000, 0, 802};
  return {DeviceState::kReady, 13000, 2, 0};
}

DeviceError facts(int32_t device, DeviceFacts* facts) {
  if (machine() == "sick device" && device == 1) return 46;
  std::strcpy(facts->name, machine() == "old devices" ? "Fake V100" : "Fake H100");
  facts->memory_bytes = int64_t{80} << 30;
  facts->compute_capability = machine() == "old devices" ? 70 : 90;
  return 0;
}

const char* error_text(DeviceError error) { return error == 802 ? "fake error 802" : "fake error 46"; }

}  // namespace
}  // namespace annulus

extern "C" const annulus::DeviceOps* annulus_device_ops() {
  using namespace annulus;
  static DeviceOps ops = {};
  ops.abi = machine() == "another version" ? kDeviceAbi + 1 : kDeviceAbi;
  ops.bytes = machine() == "another size" ? 8 : static_cast<int32_t>(sizeof(DeviceOps));
  ops.libraries = "fake CUDA";
  ops.architectures = "80";
  ops.runtime_version = 13000;
  ops.compute_capability = 80;
  ops.error_text = error_text;
  ops.summary = summary;
  ops.facts = facts;
  return &ops;
}
