#include "runtime/checkpoint_save.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "runtime/checkpoint_directory.h"
#include "runtime/checkpoint_manifest.h"
#include "runtime/checkpoint_parts.h"
#include "runtime/checkpoint_report.h"
#include "runtime/checkpoint_view.h"
#include "runtime/core/error.h"
#include "runtime/core/log.h"
#include "runtime/core/memory.h"
#include "runtime/hdf5_disk.h"

namespace annulus {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSaving = "saving a checkpoint";
constexpr int64_t kBytesForRest = 1 << 20;  // MANIFEST and view

int64_t total_of(const std::vector<std::string>& numbers) {
  int64_t total = 0;
  for (const std::string& number : numbers) total += std::stoll(number);
  return total;
}

// False if it was there.
bool make_directory(const std::string& path) {
  const int error = mkdir(path.c_str(), 0777) == 0 ? 0 : errno;
  const bool there = error == EEXIST && fs::is_directory(path);
  require(ExitCode::kStorage, error == 0 || there, "cannot make the directory '", path, "': ", std::strerror(error),
          "; check what is there and its permissions");
  return error == 0;
}

// Of saves and deletions that were killed. A name that is not one of ours is left alone.
void remove_leftovers(const std::string& checkpoints) {
  std::vector<std::string> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints))
    if (is_temporary_name(entry.path().filename().string())) leftovers.push_back(entry.path().string());
  for (const std::string& leftover : leftovers) {
    std::error_code error;
    fs::remove_all(leftover, error);
    if (error)
      log::warn(
          concat("cannot remove '", leftover, "', left by a save or a deletion that was cut off: ", error.message()));
  }
}

void check_space(const std::string& directory, int64_t bytes) {
  struct statvfs status = {};
  const bool seen = statvfs(directory.c_str(), &status) == 0;
  require(ExitCode::kStorage, seen, "cannot see how much space '", directory, "' has: ", std::strerror(errno));
  const auto free = static_cast<int64_t>(status.f_bavail * status.f_frsize);
  require(ExitCode::kStorage, free >= bytes, "a checkpoint takes ", human_bytes(bytes), " but '", directory, "' has ",
          human_bytes(free), " left; make room there");
}

Manifest manifest_of(const RunState& state, int num_ranks) {
  Manifest manifest;
  manifest.state = state;
  manifest.ranks = num_ranks;
  manifest.config_digest = digest_of(state.config_text);
  return manifest;
}

// Earlier versions read f32 only; to them what holds nothing else is what it always was.
int64_t schema_version_of(const RowCoverage& coverage) {
  const auto& tensors = coverage.tensors();
  const bool all_f32 = std::all_of(tensors.begin(), tensors.end(),
                                   [](const auto& tensor) { return tensor.second.dtype == Dtype::kF32; });
  return all_f32 ? kLeastSchemaVersion : kSchemaVersion;
}

// Whether the step is there already, from a run that was resumed before it. Throws if that is of another run.
bool exists_already(const std::string& path, const Manifest& ours) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path + "/" + kManifestName, error))) return false;
  const Report read = report_of([&] { return manifest_text(read_manifest(path)); });
  require(ExitCode::kCheckpoint, read.ok, "'", path, "' is there already but damaged; move it away: ", read.text);
  const Manifest theirs = parse_manifest(read.text);
  require(ExitCode::kCheckpoint, theirs.config_digest == ours.config_digest, "'", path,
          "' is there already, with another config; it is left alone: move it away, or name this run anew (run.name)");
  const RunState &a = theirs.state, &b = ours.state;
  require(ExitCode::kCheckpoint, a.step == b.step && a.tokens == b.tokens && a.rows == b.rows && a.seed == b.seed, "'",
          path, "' is there already, at another place in the data; it is left alone: move it away");
  return true;
}

// Rank 0: everything up to the directory to write to, whose path is returned; empty if the checkpoint exists already.
std::string begin(const std::string& path, const Manifest& manifest, int64_t bytes, bool with_space_check) {
  const std::string checkpoints = fs::path(path).parent_path().string();
  if (make_directory(checkpoints)) sync_directory(fs::path(checkpoints).parent_path().string());
  if (exists_already(path, manifest)) return {};
  remove_leftovers(checkpoints);
  if (with_space_check) check_space(checkpoints, bytes);
  const std::string temporary = temporary_name(path);
  make_directory(temporary);
  return temporary;
}

// The parts of one rank, as lines for rank 0. Only one of them is in memory at a time.
std::string write_parts(const std::string& directory, const RunState& state, const std::vector<TensorRows>& owned,
                        int rank, const detail::SaveOptions& options) {
  const std::string* config = rank == 0 ? &state.config_text : nullptr;
  std::vector<std::vector<PlannedRows>> plans =
      plan_parts(owned, options.part_bytes, config ? static_cast<int64_t>(config->size()) : 0);
  if (config && plans.empty()) plans.emplace_back();
  std::ostringstream lines;
  for (size_t i = 0; i < plans.size(); ++i)
    put(lines, write_part(directory, part_name(rank, static_cast<int64_t>(i)), plans[i], i == 0 ? config : nullptr,
                          options.while_held));
  return lines.str();
}

// Rank 0: what makes the parts of all ranks a checkpoint. Returns its bytes.
std::string commit(const std::string& temporary, const std::string& path, Manifest manifest,
                   const std::vector<std::string>& parts_of_ranks) {
  RowCoverage coverage;
  for (const std::string& lines : parts_of_ranks) {
    std::istringstream text(lines);
    for (StoredPart part; take(text, part);) {
      manifest.files.push_back(part.file);
      for (const RowRange& range : part.rows) {
        const std::string problem = coverage.add(range, part.file.name);
        invariant(problem.empty(), problem);
      }
    }
  }
  for (const auto& [name, tensor] : coverage.tensors()) {
    const std::string problem = coverage.missing({name, tensor.shape, 0, tensor.shape[0], tensor.dtype});
    invariant(problem.empty(), "no rank owns all of a tensor: ", problem);
  }
  manifest.schema_version = schema_version_of(coverage);
  manifest.files.push_back(write_view(temporary, coverage));
  const std::string text = manifest_text(manifest);
  write_new_file(temporary + "/" + kManifestName, text);
  sync_directory(temporary);
  rename_durably(temporary, path);
  auto bytes = static_cast<int64_t>(text.size());
  for (const ManifestFile& file : manifest.files) bytes += file.bytes;
  return std::to_string(bytes);
}

// Collective: reads all files of a checkpoint, each on one rank. Its bytes, or what is wrong with it.
Report verify(const std::string& path, Group& world) {
  return report_together(
      world, kSaving,
      [&] {
        const Manifest manifest = read_manifest(path);
        int64_t bytes = world.rank() == 0 ? static_cast<int64_t>(manifest_text(manifest).size()) : 0;
        for (size_t i = static_cast<size_t>(world.rank()); i < manifest.files.size();
             i += static_cast<size_t>(world.size()))
          bytes += static_cast<int64_t>(read_listed_file(path, manifest.files[i]).size());
        return std::to_string(bytes);
      },
      [](const std::vector<std::string>& bytes) { return std::to_string(total_of(bytes)); });
}

}  // namespace

SavedCheckpoint detail::save_checkpoint(const std::string& run_directory, const RunState& state,
                                        const std::vector<TensorRows>& owned, Group& world,
                                        const SaveOptions& options) {
  const std::string path = checkpoints_directory(run_directory) + "/" + step_name(state.step);
  const Manifest manifest = manifest_of(state, world.size());
  auto finish = [&](const Report& report) {
    if (report.ok) return SavedCheckpoint{true, path, {}, std::stoll(report.text)};
    return SavedCheckpoint{false, {}, report.text, 0};
  };

  const Report begun = report_together(
      world, kSaving, [&] { return std::to_string(bytes_in_parts(owned)); },
      [&](const std::vector<std::string>& bytes) {
        const auto config_bytes = static_cast<int64_t>(state.config_text.size());
        return begin(path, manifest, total_of(bytes) + config_bytes + kBytesForRest, options.check_space);
      });
  if (!begun.ok) return finish(begun);
  const std::string& temporary = begun.text;
  if (temporary.empty()) {
    Report verified = verify(path, world);
    if (!verified.ok)
      verified.text = concat("'", path, "' is there already but damaged; move it away: ", verified.text);
    return finish(verified);
  }

  const Report saved = report_together(
      world, kSaving, [&] { return write_parts(temporary, state, owned, world.rank(), options); },
      [&](const std::vector<std::string>& parts) { return commit(temporary, path, manifest, parts); });
  if (!saved.ok) {
    std::error_code ignored;  // what cannot be removed now is removed when the next save begins
    if (world.rank() == 0) fs::remove_all(temporary, ignored);
    world.barrier(kSaving);
  }
  return finish(saved);
}

SavedCheckpoint save_checkpoint(const std::string& run_directory, const RunState& state,
                                const std::vector<TensorRows>& owned, Group& world,
                                const std::function<void()>& while_held) {
  return detail::save_checkpoint(run_directory, state, owned, world, {.while_held = while_held});
}

}  // namespace annulus
