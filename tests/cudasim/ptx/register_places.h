#pragma once

#include <cstdint>
#include <vector>

#include "tests/cudasim/ptx/function_frame.h"
#include "tests/cudasim/ptx/module.h"

namespace annulus::cudasim {

/// The instructions from the first to the last at which a register's value may still be wanted; last < first: it is
/// never mentioned.
struct LiveRange {
  int first = 0, last = -1;
};
std::vector<LiveRange> live_ranges(const Function& function);

/// A place in the warp's register file for each of the function's registers. nvcc gives every value a register of its
/// own; registers whose ranges do not meet share a place, so that the file of a large kernel fits the host's caches.
/// A place keeps 32 lanes apart, and lanes write only their own: what holds for one thread, whichever way it takes,
/// holds for lanes that go apart.
std::vector<uint32_t> place_registers(const Function& function, Storage& storage);

}  // namespace annulus::cudasim
