// Deleting the checkpoints that newer ones have made superfluous.
#include <algorithm>
#include <filesystem>

#include "runtime/checkpoint.h"
#include "runtime/checkpoint_directory.h"
#include "runtime/checkpoint_manifest.h"
#include "runtime/core/error.h"
#include "runtime/core/log.h"
#include "runtime/hdf5_disk.h"

namespace annulus {
namespace {

namespace fs = std::filesystem;

std::string last_name(const std::string& path) { return fs::path(path).filename().string(); }

bool has_size(const std::string& path, int64_t bytes) {
  return fs::is_regular_file(fs::symlink_status(path)) && static_cast<int64_t>(fs::file_size(path)) == bytes;
}

// As far as that can be seen without reading all of it. What a crash of the machine or somebody's hand has left of a
// checkpoint must not take the place of a whole one among those that are kept.
bool is_complete(const std::string& checkpoint, const std::string& run_name) {
  if (fs::is_symlink(checkpoint)) return false;
  try {
    const Manifest manifest = read_manifest(checkpoint);
    const std::vector<ManifestFile> parts = manifest.parts();
    return manifest.state.run_name == run_name && step_name(manifest.state.step) == last_name(checkpoint) &&
           std::all_of(parts.begin(), parts.end(),
                       [&](const ManifestFile& file) { return has_size(checkpoint + "/" + file.name, file.bytes); });
  } catch (const std::exception&) {
    return false;
  }
}

// The rename is what deletes: it is on the disk before any file of the checkpoint is gone from there.
void delete_checkpoint(const std::string& checkpoint) try {
  const std::string temporary = temporary_name(checkpoint);
  rename_durably(checkpoint, temporary);
  fs::remove_all(temporary);
} catch (const std::exception& error) {
  log::warn(concat("cannot delete the old checkpoint '", checkpoint, "': ", error.what(),
                   "; the run goes on, and the next save tries again"));
}

}  // namespace

void delete_old_checkpoints(const std::string& run_directory, const RunState& newest, int64_t keep) {
  if (keep == 0) return;
  try {
    std::vector<std::string> found = list_checkpoints(run_directory);
    std::erase_if(found, [&](const std::string& checkpoint) {
      return is_later(last_name(checkpoint), step_name(newest.step)) || !is_complete(checkpoint, newest.run_name);
    });
    while (static_cast<int64_t>(found.size()) > keep) {
      delete_checkpoint(found.back());
      found.pop_back();
    }
  } catch (const std::exception& error) {
    log::warn(concat("old checkpoints were not deleted: ", error.what()));
  }
}

}  // namespace annulus
