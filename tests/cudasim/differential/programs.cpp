// The random programs as a library that differential_test opens.

#include "tests/cudasim/differential/programs.h"

#include "tests/cudasim/differential/host.h"
#include "tests/cudasim/differential/host_float.h"

#include ANNULUS_DIFFERENTIAL_PROGRAMS

#define ENTRY(number) {#number, differential::program_##number},
extern "C" const differential::ProgramTable annulus_programs() {
  static const differential::HostProgram all[] = {ALL_PROGRAMS(ENTRY)};
  return {all, sizeof(all) / sizeof(all[0]), differential::kCells};
}
