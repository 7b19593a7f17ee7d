#pragma once
// The MANIFEST of a checkpoint: which run and step it is, and the size and digest of each of its files.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint.h"
#include "runtime/digest.h"

namespace annulus {

/// Of the MANIFEST and the parts: those that are read, and of which each checkpoint has the lowest that holds it. In
/// every version the first line of a MANIFEST is "annulus-checkpoint VERSION" and the last one the digest of those
/// above. Whatever is changed so that a reader would misread it or could not read it makes a new version. 1: tensors of
/// f32; 2: also of bf16.
constexpr int64_t kLeastSchemaVersion = 1, kSchemaVersion = 2;

constexpr const char* kManifestName = "MANIFEST";
constexpr const char* kViewName = "view.h5";
constexpr const char* kFirstPartName = "part-00000-00.h5";  // with the text of the config

struct ManifestFile {
  std::string name;
  int64_t bytes = 0;
  std::string digest;
};

struct Manifest {
  RunState state;  // without the text of the config
  int64_t ranks = 0;
  int64_t schema_version = kLeastSchemaVersion;
  std::string config_digest;
  std::vector<ManifestFile> files;

  /// The files that the loader reads: all but the view.
  std::vector<ManifestFile> parts() const;
};

/// "part-00003-00.h5": part `number` of those that `rank` writes.
std::string part_name(int rank, int64_t number);
bool is_part_name(const std::string& name);

std::string manifest_text(const Manifest& manifest);

/// Throws UserError (66) saying what is wrong unless the text is exactly what manifest_text() makes of some manifest.
Manifest parse_manifest(const std::string& text);

/// Reads and checks checkpoint/MANIFEST. Throws UserError (66) naming it.
Manifest read_manifest(const std::string& checkpoint);

/// Whether the checkpoint is whole, by its MANIFEST, but of a higher schema version than this program reads. Throws
/// nothing.
bool is_of_later_schema(const std::string& checkpoint);

/// Whether two checkpoints hold the same, by their MANIFESTs; false where one cannot be read.
bool same_checkpoint(const std::string& a, const std::string& b);

/// The bytes of a file of a checkpoint, whose size and digest are those of its MANIFEST. Throws UserError (66).
std::vector<std::byte> read_listed_file(const std::string& checkpoint, const ManifestFile& file);

}  // namespace annulus
