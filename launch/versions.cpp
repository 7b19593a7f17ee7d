#include "launch/versions.h"

#include <fmt/format.h>
#include <mpi.h>

#include "runtime/hdf5_file.h"

namespace annulus {

std::string library_versions() {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  const std::string text(mpi, static_cast<size_t>(length));
  return fmt::format("{}, HDF5 {}, fmt {}.{}.{}", text.substr(0, text.find(',')), hdf5_library_version(),
                     FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
}

}  // namespace annulus
