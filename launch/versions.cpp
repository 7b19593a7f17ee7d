#include "launch/versions.h"

#include <fmt/format.h>
#include <mpi.h>

#include "kernels/cpu/gemm.h"

namespace annulus {

std::string library_versions() {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  const std::string text(mpi, static_cast<size_t>(length));
  return fmt::format("oneDNN {}, {}, fmt {}.{}.{}", cpu::gemm_library_version(), text.substr(0, text.find(',')),
                     FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
}

}  // namespace annulus
