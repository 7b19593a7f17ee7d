#include "runtime/hdf5_handle.h"

#include <atomic>

namespace annulus {
namespace {

std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

// No user's doing makes these fail.
bool set_up_library() {
  return H5open() >= 0 && H5PLset_loading_state(0) >= 0 && H5Lunregister(H5L_TYPE_EXTERNAL) >= 0;
}

herr_t take_first(unsigned, const H5E_error2_t* error, void* text) {
  if (error->desc) *static_cast<std::string*>(text) = error->desc;
  return 1;  // enough
}

}  // namespace

Hdf5Lock::Hdf5Lock() : guard_(library_mutex()) {
  static const bool ready = set_up_library();
  // A build with thread safety has a stack of errors, and this setting, for each thread.
  static thread_local const bool silent = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
  require(ExitCode::kOther, ready && silent, "libhdf5 cannot be set up; check its installation (launch/setup.sh)");
}

std::string hdf5_message() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &text);
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';  // a damaged file may have put it there
  return text.empty() ? "no reason given" : text;
}

Hdf5TypeId hdf5_float_type(ExitCode code, Dtype dtype) {
  const char* what = "the type of a tensor";
  Hdf5TypeId type(hdf5_checked(code, H5Tcopy(H5T_IEEE_F32LE), what));
  if (dtype == Dtype::kF32) return type;
  invariant(dtype == Dtype::kBf16, "no HDF5 type for ", name_of(dtype));
  // The upper half of a float: 7 bits of mantissa, 8 of exponent, the sign. The fields first: they must fit the size.
  hdf5_checked(code, H5Tset_fields(type.get(), 15, 7, 8, 0, 7), what);
  hdf5_checked(code, H5Tset_size(type.get(), 2), what);
  hdf5_checked(code, H5Tset_ebias(type.get(), 127), what);
  return type;
}

Hdf5PropertiesId hdf5_memory_access(ExitCode code, size_t growth) {
  Hdf5PropertiesId access(hdf5_checked(code, H5Pcreate(H5P_FILE_ACCESS), "HDF5 file in memory"));
  hdf5_checked(code, H5Pset_fapl_core(access.get(), growth, /*backing_store=*/0), "HDF5 file in memory");
  hdf5_checked(code, H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG), "HDF5 file in memory");
  return access;
}

std::string unique_hdf5_name() {
  static std::atomic<int64_t> number{0};
  return concat("/dev/null/", ++number);  // the library also looks on the disk: nothing can be there
}

}  // namespace annulus
