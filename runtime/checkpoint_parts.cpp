#include "runtime/checkpoint_parts.h"

#include <algorithm>
#include <istream>
#include <ostream>
#include <set>

#include "runtime/core/error.h"
#include "runtime/hdf5_disk.h"
#include "runtime/hdf5_file.h"

namespace annulus {
namespace {

// What HDF5 1.10 adds, rounded up (checkpoint_test measures it): the file, a dataset with its attributes, and a group
// for each step of its path.
constexpr int64_t kBytesPerPart = 4096, kBytesPerDataset = 2048, kBytesPerGroup = 1536;

int64_t added_bytes(const std::string& name) {
  return kBytesPerDataset + kBytesPerGroup * std::count(name.begin(), name.end(), '/') +
         2 * static_cast<int64_t>(name.size());
}

RowRange range_of(const TensorRows& tensor) {
  return {tensor.name, tensor.shape, tensor.first_row, tensor.rows, tensor.dtype};
}

bool is_empty(const TensorRows& tensor) { return tensor.rows == 0 || tensor.shape.numel() == 0; }

}  // namespace

int64_t bytes_in_parts(const std::vector<TensorRows>& owned) {
  int64_t bytes = kBytesPerPart;
  for (const TensorRows& tensor : owned) bytes += range_of(tensor).bytes() + added_bytes(tensor.name);
  return bytes;
}

std::vector<std::vector<PlannedRows>> plan_parts(const std::vector<TensorRows>& owned, int64_t most_bytes,
                                                 int64_t reserved_bytes) {
  std::vector<std::vector<PlannedRows>> parts;
  std::set<std::string> names;  // of the last part
  int64_t free = 0;             // in it
  for (const TensorRows& tensor : owned) {
    if (is_empty(tensor)) continue;
    RowRange rest = range_of(tensor);
    const std::string problem = problem_of(rest);
    invariant(problem.empty() && rest.name != kConfigName,
              problem.empty() ? "a tensor has the name of the config" : problem);
    const auto* data = static_cast<const std::byte*>(tensor.data);
    while (rest.rows > 0) {
      const int64_t row_bytes = rest.row_bytes();
      int64_t rows = (free - added_bytes(rest.name)) / row_bytes;
      if (parts.empty() || rows < rest.rows || names.contains(rest.name)) {
        free = most_bytes - kBytesPerPart - (parts.empty() ? reserved_bytes : 0);
        rows = std::max<int64_t>(1, (free - added_bytes(rest.name)) / row_bytes);
        names.clear();
        parts.emplace_back();
      }
      rows = std::min(rows, rest.rows);
      RowRange here = rest;
      here.rows = rows;
      parts.back().push_back({here, data});
      names.insert(rest.name);
      free -= here.bytes() + added_bytes(rest.name);
      data += here.bytes();
      rest.first_row += rows;
      rest.rows -= rows;
    }
  }
  return parts;
}

void put(std::ostream& text, const StoredPart& part) {
  text << part.file.name << ' ' << part.file.bytes << ' ' << part.file.digest << ' ' << part.rows.size() << '\n';
  for (const RowRange& range : part.rows) put(text, range);
}

bool take(std::istream& text, StoredPart& part) {
  size_t rows = 0;
  if (!(text >> part.file.name)) return false;
  text >> part.file.bytes >> part.file.digest >> rows;
  invariant(!text.fail(), "ranks cannot read each other's lists of parts");
  part.rows.assign(rows, {});
  for (RowRange& range : part.rows) take(text, range);
  return true;
}

StoredPart write_part(const std::string& directory, const std::string& name, const std::vector<PlannedRows>& plan,
                      const std::string* config, const std::function<void()>& while_held) {
  StoredPart part;
  Hdf5Writer writer;
  if (config) writer.write(kConfigName, *config);
  for (const auto& [range, data] : plan) {
    Shape shape = range.shape;
    shape.set(0, range.rows);
    writer.write(range.name, shape, range.dtype, data);
    std::vector<int64_t> global_shape;
    for (int i = 0; i < range.shape.rank(); ++i) global_shape.push_back(range.shape[i]);
    writer.set_attribute(range.name, "global_shape", global_shape);
    writer.set_attribute(range.name, "first_row", range.first_row);
    writer.set_attribute(range.name, "rows", range.rows);
    writer.set_attribute(range.name, "dtype", std::string(name_of(range.dtype)));
    part.rows.push_back(range);
  }
  const std::span<const std::byte> image = writer.image();
  if (while_held) while_held();
  write_new_file(directory + "/" + name, image);
  part.file = {name, static_cast<int64_t>(image.size()), digest_of(image)};
  return part;
}

LoadedPart read_part(const std::string& checkpoint, const ManifestFile& file) {
  return parse_listed_part(checkpoint, file, read_listed_file(checkpoint, file));
}

LoadedPart parse_listed_part(const std::string& checkpoint, const ManifestFile& file, std::vector<std::byte> bytes) {
  LoadedPart part;
  part.bytes = std::move(bytes);
  try {
    part.contents = parse_part(part.bytes);
    const bool first = file.name == kFirstPartName;
    require(ExitCode::kCheckpoint, part.contents.config.has_value() == first,
            first ? "it lacks the config" : "it holds a config, which belongs into the first part");
  } catch (const UserError& error) {
    fail(ExitCode::kCheckpoint, "'", checkpoint, "/", file.name, "' is refused: ", error.what());
  }
  return part;
}

}  // namespace annulus
