#pragma once
// Cutting the rows that a rank owns into part files, writing them, and reading them back.
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "runtime/checkpoint.h"
#include "runtime/checkpoint_manifest.h"
#include "runtime/checkpoint_rows.h"
#include "runtime/hdf5_part.h"

namespace annulus {

/// Rows that go into one part, and where they are.
struct PlannedRows {
  RowRange range;
  const void* data;
};

/// An upper bound of what the rows take in part files.
int64_t bytes_in_parts(const std::vector<TensorRows>& owned);

/// The parts of one rank, each of at most `most_bytes` (but at least one row) when written. A tensor is cut only where
/// it is larger than a part. The first part leaves `reserved_bytes` free. Throws std::logic_error at rows that are not
/// a range of a vector or matrix.
std::vector<std::vector<PlannedRows>> plan_parts(const std::vector<TensorRows>& owned, int64_t most_bytes,
                                                 int64_t reserved_bytes);

/// A part as it was written.
struct StoredPart {
  ManifestFile file;
  std::vector<RowRange> rows;
};

/// Lines of text and back; false at the end. Only for what ranks of one program tell each other.
void put(std::ostream& text, const StoredPart& part);
bool take(std::istream& text, StoredPart& part);

/// Builds the part in memory, writes it to directory/name and waits for the disk. `config` goes with it where it is not
/// null. `while_held` is called while the part is in memory. Throws UserError (73).
StoredPart write_part(const std::string& directory, const std::string& name, const std::vector<PlannedRows>& plan,
                      const std::string* config, const std::function<void()>& while_held);

/// A part whose bytes are those that its MANIFEST lists, and what they say.
struct LoadedPart {
  std::vector<std::byte> bytes;
  PartContents contents;  // points into the bytes
};

/// Throws UserError (66) naming the file.
LoadedPart read_part(const std::string& checkpoint, const ManifestFile& file);

/// The second half of it: `bytes` are what read_listed_file() returned.
LoadedPart parse_listed_part(const std::string& checkpoint, const ManifestFile& file, std::vector<std::byte> bytes);

}  // namespace annulus
