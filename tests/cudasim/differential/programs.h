#pragma once

#include <cstddef>

#include "tests/cudasim/differential/common.h"

namespace differential {

/// A program on the host; its kernel has the name "kernel_" and the number.
struct HostProgram {
  const char* number;
  void (*run)(const Inputs& in, uint64_t* cells);
};

/// What the library of programs gives away, by the function annulus_programs.
struct ProgramTable {
  const HostProgram* programs;
  size_t count;
  size_t cells;  // that each program may fill
};

}  // namespace differential
