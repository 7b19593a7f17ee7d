#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tests/cudasim/runtime/simulation.h"

namespace annulus::cudasim {

/// What goes wrong when `ranks` ranks with a device each run the body in the schedule of this number; nothing: all is
/// well.
inline std::optional<DeviceFault> fault_in(uint64_t schedule, int ranks, const std::function<void(int rank)>& body,
                                           SimulationOptions options = {}) {
  options.devices = ranks;
  Simulation simulation(options.schedule(schedule));
  try {
    simulation.run(ranks, body);
  } catch (const DeviceFault& fault) {
    return fault;
  }
  return std::nullopt;
}

inline std::string text_of(const std::optional<DeviceFault>& fault) { return fault ? fault->what() : ""; }

}  // namespace annulus::cudasim
