#include "tests/cudasim/ptx/fault.h"

#include <fmt/format.h>

namespace annulus::cudasim {
namespace {

std::string triple(const Dim3& at) { return fmt::format("({},{},{})", at.x, at.y, at.z); }

std::string report(const DeviceFault::Place& place, const std::string& message) {
  std::string text = place.kernel.empty() ? message : fmt::format("kernel {}: {}", place.kernel, message);
  if (place.ptx_line > 0) text += fmt::format("\n  at {}, PTX line {}", place.instruction, place.ptx_line);
  if (!place.source.empty()) text += fmt::format(", {}", place.source);
  if (place.one_thread) text += fmt::format("\n  thread {} of block {}", triple(place.thread), triple(place.block));
  return text;
}

}  // namespace

DeviceFault::DeviceFault(FaultKind fault_kind, Place where, const std::string& message)
    : std::runtime_error(report(where, message)), kind_(fault_kind), place_(std::move(where)) {}

}  // namespace annulus::cudasim
