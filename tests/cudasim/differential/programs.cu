// The random programs as kernels: thread i has inputs[i] and its own row of cells.

#include "tests/cudasim/differential/device.cuh"

#include ANNULUS_DIFFERENTIAL_PROGRAMS

#define KERNEL(number)                                                                                       \
  extern "C" __global__ void kernel_##number(const differential::Inputs* inputs, uint64_t* cells) {          \
    differential::program_##number(inputs[threadIdx.x], cells + size_t{threadIdx.x} * differential::kCells); \
  }
ALL_PROGRAMS(KERNEL)
