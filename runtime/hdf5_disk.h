#pragma once
// Whole files to and from the disk, every return checked. libhdf5 never writes to a disk itself: a full one makes it
// crash or hang. It works in memory, and these functions carry the bytes.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/error.h"

namespace annulus {

/// Writes a file that must not exist yet (nor be a link) and waits until the disk has it. Throws UserError (73) naming
/// the path and the reason; part of the file may then be there.
void write_new_file(const std::string& path, std::span<const std::byte> bytes);
void write_new_file(const std::string& path, std::string_view text);

/// Puts a whole file at `path`, or changes nothing there: writes path.tmp, waits for the disk, renames. Throws
/// UserError (73).
void replace_file(const std::string& path, std::span<const std::byte> bytes);

/// Waits until the disk has the names in a directory. Throws UserError (73).
void sync_directory(const std::string& path);

/// Renames and waits until the disk has it, in the directory that holds `to`. Throws UserError (73).
void rename_durably(const std::string& from, const std::string& to);

/// A whole regular file that is not a link, at most `most_bytes` long. Throws UserError with `code`.
std::vector<std::byte> read_whole_file(const std::string& path, int64_t most_bytes, ExitCode code);

}  // namespace annulus
