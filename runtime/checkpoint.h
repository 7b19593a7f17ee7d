#pragma once
// Checkpoints: a directory of HDF5 part files and a MANIFEST (DESIGN section 11). A part holds rows of logical tensors,
// so a run saved on P ranks loads on any number. Nothing counts before the directory is renamed into place, and nothing
// that is good is ever overwritten.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/group.h"
#include "runtime/core/tensor.h"

namespace annulus {

/// Consecutive rows (of dimension 0) of one logical tensor, f32 or bf16, as one rank holds them.
struct TensorRows {
  std::string name;  // "/model/layers/0/attention/q_proj": letters, digits, '_', '-' and '.'; not "/config"
  Shape shape;       // of the whole tensor: a vector or a matrix
  int64_t first_row, rows;
  void* data;  // rows * (product of the other dimensions) elements
  Dtype dtype = Dtype::kF32;
};

/// The largest part file, but one row where that is larger.
constexpr int64_t kMostPartBytes = int64_t{256} << 20;

/// All of a run's state that is not a tensor.
struct RunState {
  std::string run_name, code_version;
  std::string config_text;  // everything, defaults included
  int64_t step = 0;         // updates done
  int64_t tokens = 0;       // tokens trained on
  int64_t rows = 0;         // training rows taken: the global data cursor
  int64_t seed = 0;
  std::string data_digest;            // of the text (Dataset::digest)
  std::string tokenizer_digest = "";  // of the SentencePiece model; empty where there is none
};

struct SavedCheckpoint {
  bool ok = false;
  std::string path;     // of the complete checkpoint
  std::string problem;  // why there is none, and how to mend it
  int64_t bytes = 0;
};

/// Collective. Writes run_directory/checkpoints/step-NNNNNNNN from the rows each rank owns; together they must be every
/// row of every tensor once. `state` is that of rank 0. The run directory must exist, and no other run may write to it.
/// A failure on any rank (full disk, no permission) leaves every older checkpoint as it is, removes what was written,
/// and is returned on every rank, not thrown. A step that is there already, whole and with the same config and place in
/// the data (a run was resumed before it), counts as saved and is left alone; any other is a failure. What saves that
/// were killed have left behind is removed first. Holds one part (256 MiB, or one row) in memory at a time;
/// `while_held` is then called, once for each part.
SavedCheckpoint save_checkpoint(const std::string& run_directory, const RunState& state,
                                const std::vector<TensorRows>& owned, Group& world,
                                const std::function<void()>& while_held = nullptr);

/// Paths of the complete checkpoints of a run, newest (highest step) first. Throws UserError (66) where the directory
/// is there but cannot be listed.
std::vector<std::string> list_checkpoints(const std::string& run_directory);

/// The checkpoint that a path names: itself, or the newest of a run directory. Throws UserError (66) where it is
/// neither.
std::string find_checkpoint(const std::string& path);

/// Deletes all but the `keep` newest complete checkpoints of the run up to `newest`, which must be on the disk; 0 keeps
/// all. Rank 0 calls it. A checkpoint is first renamed to a temporary name: one that is half deleted is never taken for
/// a checkpoint, and what a kill leaves of it is removed when the next save begins. Neither counted nor touched are
/// those that are not complete (by MANIFEST and file sizes), later ones, those of a run with another name, links, and
/// whatever does not have the name of a step. What cannot be deleted is warned about and stays.
void delete_old_checkpoints(const std::string& run_directory, const RunState& newest, int64_t keep);

/// What MANIFEST and part 0 say, after their digests were checked. Throws UserError (66). One rank calls it.
RunState read_run_state(const std::string& checkpoint);

/// Collective. Fills `wanted` (any rows, of any rank's choosing; together they may be more or less than what is
/// stored). Each file is read and digested by one rank, on the very bytes that are then parsed, and rows go to whoever
/// wants them by messages, so that a rank holds one part in memory at a time. Throws AgreedError (66) naming file and
/// reason if a file is missing or damaged, or if a wanted row is not there, is there twice, or shapes or dtypes differ;
/// `wanted` memory is then undefined. view.h5 is not read.
void load_checkpoint(const std::string& checkpoint, const std::vector<TensorRows>& wanted, Group& world);

}  // namespace annulus
