#pragma once
// libhdf5 made safe to call from C++: ids that close themselves, one thread at a time, and errors in its own words.
// Only runtime/hdf5_* includes this.
#define H5_USE_110_API 1  // later libraries: the functions as they were in 1.10
#include <hdf5.h>

#include <mutex>
#include <string>
#include <utility>

#include "runtime/core/dtype.h"
#include "runtime/core/error.h"

namespace annulus {

template <class T, auto Close, T kNone = T{}>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T raw) : raw_(raw) {}
  Handle(Handle&& other) noexcept : raw_(std::exchange(other.raw_, kNone)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Handle() {
    if (raw_ != kNone) Close(raw_);
  }
  T get() const { return raw_; }
  T release() { return std::exchange(raw_, kNone); }

 private:
  T raw_ = kNone;
};

/// Held around every use of libhdf5: not every build of it is thread-safe, and ranks may be threads of one process.
/// The first one sets the library up: it prints nothing, loads no plugins, and follows no external links.
class Hdf5Lock {
 public:
  Hdf5Lock();

 private:
  std::lock_guard<std::recursive_mutex> guard_;
};

template <auto Close>
void close_hdf5_id(hid_t id) {
  const Hdf5Lock lock;
  Close(id);
}

template <auto Close>
using Hdf5Id = Handle<hid_t, close_hdf5_id<Close>, hid_t{H5I_INVALID_HID}>;

using Hdf5FileId = Hdf5Id<H5Fclose>;
using Hdf5ObjectId = Hdf5Id<H5Oclose>;  // a group or a dataset
using Hdf5DatasetId = Hdf5Id<H5Dclose>;
using Hdf5SpaceId = Hdf5Id<H5Sclose>;
using Hdf5TypeId = Hdf5Id<H5Tclose>;
using Hdf5AttributeId = Hdf5Id<H5Aclose>;
using Hdf5PropertiesId = Hdf5Id<H5Pclose>;

/// What the library said first about the call that has just failed, as one printable line.
std::string hdf5_message();

/// The result of a call of the library. Throws UserError with `code` if it is negative, which is how all of them fail.
template <class Result, class... Parts>
Result hdf5_checked(ExitCode code, Result result, const Parts&... doing) {
  if (result < 0) fail(code, doing..., ": ", hdf5_message());
  return result;
}

/// f32 or bf16 as it lies in files, little endian. HDF5 has no name for bf16, but describes any layout of a float:
/// readers that have no such type get the very values as wider floats.
Hdf5TypeId hdf5_float_type(ExitCode code, Dtype dtype);

/// Properties of a file that lives in memory only: `growth` bytes are added at a time.
Hdf5PropertiesId hdf5_memory_access(ExitCode code, size_t growth);

/// A name no other open file of this process has: libhdf5 takes two files in memory with one name for the same file.
std::string unique_hdf5_name();

}  // namespace annulus
