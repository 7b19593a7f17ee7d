#pragma once
// The strict reader of checkpoint parts: plain rows of f32 or bf16 with their attributes, and nothing else that HDF5
// can do.
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint_rows.h"

namespace annulus {

constexpr const char* kConfigName = "/config";  // uint8, in the first part only

struct PartRows {
  RowRange range;
  const std::byte* data;  // little endian, inside the image, not aligned
};

struct PartContents {
  std::vector<PartRows> rows;
  std::optional<std::string> config;  // where it has one
};

/// Parses the image of a part, whose digest the caller has checked; the result points into it. Throws UserError (66) at
/// whatever is not a hard link to a group or to a contiguous dataset inside the image, with its four attributes, and at
/// attributes that disagree with the dataset. Links and storage that lead to other files are never followed.
PartContents parse_part(std::span<const std::byte> image);

}  // namespace annulus
