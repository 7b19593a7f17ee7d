#pragma once
// What a checkpoint holds and whether it is intact, read file by file.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/checkpoint_manifest.h"
#include "runtime/core/dtype.h"

namespace annulus {

/// Of the finite ones among some values; the others are counted.
struct ValueStatistics {
  int64_t finite = 0, not_finite = 0;
  double mean = 0.0, squares = 0.0;  // squares: the sum of (x - mean)^2
  double min = 0.0, max = 0.0;

  /// Over all values, not an estimate from a sample.
  double std() const;
  /// `values`: of f32 or bf16, little endian, not aligned.
  void add(const std::byte* values, Dtype dtype, int64_t count);
};

struct InspectedFile {
  std::string name;
  int64_t bytes = 0;  // as MANIFEST lists it
  std::string digest;
  bool digest_holds = false;
  std::string problem;  // empty: none
};

struct InspectedTensor {
  std::string name;
  Shape shape;
  Dtype dtype = Dtype::kF32;
  int64_t parts = 0, rows = 0;  // found; of an intact checkpoint rows are all of shape[0]
  ValueStatistics values;       // of these rows
};

struct Inspection {
  bool has_manifest = false;  // else there is but a problem
  Manifest manifest;
  std::vector<InspectedFile> files;      // in the order of MANIFEST
  std::vector<InspectedTensor> tensors;  // by name
  std::vector<std::string> problems;     // empty: intact
};

/// Reads every file of a checkpoint once and checks size and digest on the very bytes that are then parsed, as loading
/// does; view.h5 is not parsed. Damage is not thrown but reported, and what is whole is read all the same. One rank
/// calls it. Holds one file in memory at a time.
Inspection inspect_checkpoint(const std::string& checkpoint);

}  // namespace annulus
