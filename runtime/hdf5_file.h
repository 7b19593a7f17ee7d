#pragma once
// HDF5 files: a user's, read from the disk, and ours, built in memory and then written whole (hdf5_disk.h says why).
// All of it may be called from any thread; one at a time gets to libhdf5.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/core/dtype.h"
#include "runtime/core/shape.h"
#include "runtime/hdf5_handle.h"

namespace annulus {

/// "1.10.8"
std::string hdf5_library_version();

/// A user's file, read-only. Every function throws UserError (65) naming the file, the dataset and what to mend.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::string& path);

  /// The datasets of the root group, by name.
  std::vector<std::string> datasets() const;
  bool has(const std::string& dataset) const;

  /// kF32 or kI64; another type, or elements kept in another file, is refused.
  Dtype dtype(const std::string& dataset) const;
  /// Of a dataset of at most Shape::kMaxRank dimensions.
  Shape shape(const std::string& dataset) const;

  /// The block that begins at `first` and has shape `count` (one number per dimension each) as a dense array. The
  /// dataset must have exactly that type; byte order, chunks and compression do not matter.
  void read(const std::string& dataset, const Shape& first, const Shape& count, float* out) const;
  void read(const std::string& dataset, const Shape& first, const Shape& count, int64_t* out) const;

  /// A float32 or float64 scalar that is an attribute of the root group.
  std::optional<double> number_attribute(const std::string& name) const;

 private:
  Hdf5DatasetId open_dataset(const std::string& dataset) const;
  void read_block(const std::string& dataset, const Shape& first, const Shape& count, Dtype dtype, void* out) const;

  std::string path_;
  Hdf5FileId file_;
};

/// Strings have a fixed length: HDF5 1.10 reads damaged variable-length ones without a word.
using Hdf5Attribute = std::variant<std::string, int64_t, std::vector<int64_t>, std::vector<double>>;

/// Rows of a virtual dataset and where they really are: a dataset of the same name that holds just them.
struct Hdf5VirtualRows {
  std::string file;  // as seen from the directory of the virtual one
  int64_t first_row, rows;
};

/// A file that is built in memory. The same calls give the same bytes. Throws UserError (73).
class Hdf5Writer {
 public:
  Hdf5Writer();

  /// Datasets are contiguous; the groups on their way are made. f32 and bf16 are little endian; text becomes uint8.
  void write(const std::string& dataset, const Shape& shape, Dtype dtype, const void* data);
  void write(const std::string& dataset, const Shape& shape, const float* data) {
    write(dataset, shape, Dtype::kF32, data);
  }
  void write(const std::string& dataset, std::string_view text);

  /// A dataset that shows rows of other files as one. Rows that nobody has read as NaN.
  void write_virtual(const std::string& dataset, const Shape& shape, Dtype dtype,
                     const std::vector<Hdf5VirtualRows>& rows);

  /// `object` is a dataset, or "/" for the root group.
  void set_attribute(const std::string& object, const std::string& name, const Hdf5Attribute& value);

  /// The file as it stands. Valid until the next call or the end of the writer.
  std::span<const std::byte> image();

  /// Puts the file at `path`, whole or not at all, by way of path.tmp.
  void save(const std::string& path);

 private:
  Hdf5DatasetId create_dataset(const std::string& dataset, const Shape& shape, hid_t type, hid_t properties);

  Hdf5FileId file_;
};

}  // namespace annulus
