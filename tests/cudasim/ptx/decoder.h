#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/cudasim/ptx/module.h"
#include "tests/cudasim/ptx/program.h"

namespace annulus::cudasim {

/// Prepares a kernel, with the functions it calls, for devices where the module's variables lie at these addresses.
/// Throws PtxError for what the interpreter does not know, naming instruction, line and kernel.
Program decode(const Module& module, const Function& kernel, const std::map<std::string, uint64_t>& addresses);

}  // namespace annulus::cudasim
