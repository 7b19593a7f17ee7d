#include "runtime/checkpoint_view.h"

#include "runtime/hdf5_disk.h"
#include "runtime/hdf5_file.h"

namespace annulus {

ManifestFile write_view(const std::string& directory, const RowCoverage& coverage) {
  Hdf5Writer writer;
  for (const auto& [name, tensor] : coverage.tensors()) {
    std::vector<Hdf5VirtualRows> rows;
    for (const auto& [first_row, piece] : tensor.pieces) rows.push_back({piece.where, first_row, piece.rows});
    writer.write_virtual(name, tensor.shape, tensor.dtype, rows);
  }
  const std::span<const std::byte> image = writer.image();
  write_new_file(directory + "/" + kViewName, image);
  return {kViewName, static_cast<int64_t>(image.size()), digest_of(image)};
}

}  // namespace annulus
