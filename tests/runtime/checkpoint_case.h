#pragma once
// A small run to save and load: tensors whose every float follows from its name, index and step, cut over ranks at
// will.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <string>
#include <vector>

#include "comm/agree.h"
#include "runtime/checkpoint.h"
#include "runtime/checkpoint_manifest.h"
#include "runtime/checkpoint_save.h"
#include "runtime/core/error.h"
#include "runtime/core/rng.h"
#include "tests/support/ranks.h"

namespace annulus::test {

namespace fs = std::filesystem;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = testing::TempDir() + "annulus_checkpoint_XXXXXX";
    if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp: " + pattern);
    path = pattern;
  }
  ~TemporaryDirectory() { fs::remove_all(path); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string path;
};

struct NamedShape {
  std::string name;
  Shape shape;
};

inline const std::vector<NamedShape> kTensors = {
    {"/model/embedding", {61, 12}},
    {"/model/layers/0/attention/q_proj", {24, 24}},
    {"/model/layers/0/norm", {24}},
    {"/model/layers/1/mlp/down", {3, 200}},
    {"/optimizer/m/model/embedding", {61, 12}},
    {"/optimizer/v/scale", {1}},
};

/// Any bits at all, NaNs and denormals too: what is saved must come back bit by bit.
inline std::vector<float> whole_tensor(const NamedShape& tensor, int64_t step) {
  const CounterRng rng(static_cast<uint64_t>(step), tensor.name);
  std::vector<float> values(static_cast<size_t>(tensor.shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = rng.bits(i)[0];
    std::memcpy(&values[i], &bits, sizeof bits);
  }
  return values;
}

/// Which rows of a tensor (its number, its rows) a rank of so many holds: [first, end).
struct Rows {
  int64_t first, end;
};
using Cut = std::function<Rows(size_t tensor, int64_t rows, int rank, int ranks)>;

inline const Cut kEven = [](size_t, int64_t rows, int rank, int ranks) {
  return Rows{rows * rank / ranks, rows * (rank + 1) / ranks};
};
inline const Cut kWhole = [](size_t tensor, int64_t rows, int rank, int ranks) {  // rank 0 may own nothing
  return Rows{0, static_cast<int>(tensor + 1) % ranks == rank ? rows : 0};
};
inline const Cut kLastOwnsAll = [](size_t, int64_t rows, int rank, int ranks) {
  return Rows{0, rank == ranks - 1 ? rows : 0};
};
inline const Cut kEverybodyAll = [](size_t, int64_t rows, int, int) { return Rows{0, rows}; };

/// A rank's rows of all tensors and their memory.
class HeldRows {
 public:
  HeldRows(const std::vector<NamedShape>& tensors, const Cut& cut, const Group& world) {
    memory_.resize(tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const Shape& shape = tensors[i].shape;
      const Rows rows = cut(i, shape[0], world.rank(), world.size());
      const int64_t row_floats = shape.numel() / shape[0];
      memory_[i].assign(static_cast<size_t>((rows.end - rows.first) * row_floats), 0.0f);
      views.push_back({tensors[i].name, shape, rows.first, rows.end - rows.first, memory_[i].data()});
    }
  }

  void fill(int64_t step) {
    for (TensorRows& rows : views)
      if (bytes(rows) > 0) std::memcpy(rows.data, expected(rows, step).data(), bytes(rows));
  }

  /// Names of the tensors of which any bit is not that of `step`.
  std::string wrong(int64_t step) const {
    std::string names;
    for (const TensorRows& rows : views)
      if (bytes(rows) > 0 && std::memcmp(rows.data, expected(rows, step).data(), bytes(rows)) != 0)
        names += rows.name + " ";
    return names;
  }

  std::vector<TensorRows> views;

 private:
  static size_t bytes(const TensorRows& rows) {
    return static_cast<size_t>(rows.rows * (rows.shape.numel() / rows.shape[0])) * sizeof(float);
  }
  static std::vector<float> expected(const TensorRows& rows, int64_t step) {
    const std::vector<float> all = whole_tensor({rows.name, rows.shape}, step);
    const auto begin = all.begin() + rows.first_row * (rows.shape.numel() / rows.shape[0]);
    return {begin, begin + static_cast<int64_t>(bytes(rows) / sizeof(float))};
  }

  std::vector<std::vector<float>> memory_;
};

inline RunState state_of(int64_t step) {
  return {"long run.1", "0.1.0-12-gabcdef", "[model]\nlayers = 4\n\"quoted\" = \"\\u0001\"\n",
          step,         step * 4096,        step * 4,
          17,           "0123456789abcdef", "876c2508b43aa2d55fed8f8282277f44"};
}

/// Saves the tensors as of `step`; every rank must report the same.
inline SavedCheckpoint save(const std::string& run, int64_t step, int ranks, const Cut& cut = kEven,
                            const detail::SaveOptions& options = {},
                            const std::vector<NamedShape>& tensors = kTensors) {
  std::vector<SavedCheckpoint> results(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](Group& world) {
    HeldRows held(tensors, cut, world);
    held.fill(step);
    results[static_cast<size_t>(world.rank())] =
        detail::save_checkpoint(run, state_of(step), held.views, world, options);
  });
  for (const SavedCheckpoint& result : results) {
    EXPECT_EQ(result.ok, results[0].ok);
    EXPECT_EQ(result.path, results[0].path);
    EXPECT_EQ(result.problem, results[0].problem);
    EXPECT_EQ(result.bytes, results[0].bytes);
    EXPECT_EQ(result.ok, result.problem.empty());
    EXPECT_EQ(result.problem.find('\n'), std::string::npos) << result.problem;
  }
  return results[0];
}

/// The error of a load that every rank must refuse with 66 and the same words; empty where all succeed.
inline std::string load_error(const std::string& checkpoint, int64_t step, int ranks, const Cut& cut = kEven,
                              const std::vector<NamedShape>& tensors = kTensors) {
  std::vector<std::string> errors(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](Group& world) {
    HeldRows held(tensors, cut, world);
    std::string& error = errors[static_cast<size_t>(world.rank())];
    try {
      load_checkpoint(checkpoint, held.views, world);
      EXPECT_EQ(held.wrong(step), "") << checkpoint;
    } catch (const AgreedError& refused) {
      EXPECT_EQ(refused.code(), ExitCode::kCheckpoint) << refused.what();
      error = refused.what();
    }
  });
  for (const std::string& error : errors) EXPECT_EQ(error, errors[0]);
  EXPECT_EQ(errors[0].find('\n'), std::string::npos) << errors[0];
  return errors[0];
}

inline void expect_in(const std::string& expected, const std::string& message) {
  EXPECT_NE(message.find(expected), std::string::npos) << "message:  " << message << "\nexpected: " << expected;
}

inline std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_text(const std::string& path, const std::string& text) {
  fs::remove(path);  // cutting off a file and writing it again makes ext4 wait for the disk
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

/// The names in a directory, in order.
inline std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

/// Makes MANIFEST agree with the files again, as somebody would who means harm.
inline void repair_digests(const std::string& checkpoint) {
  Manifest manifest = parse_manifest(read_text(checkpoint + "/MANIFEST"));
  for (ManifestFile& file : manifest.files) {
    const std::string bytes = read_text(checkpoint + "/" + file.name);
    file.bytes = static_cast<int64_t>(bytes.size());
    file.digest = digest_of(bytes);
  }
  write_text(checkpoint + "/MANIFEST", manifest_text(manifest));
}

/// A checkpoint to damage: two ranks, several parts.
struct Damaged {
  Damaged() : path(save(run.path, kStep, 2, kEven, {.part_bytes = 20 << 10}).path) {}
  std::string file(const std::string& name) const { return path + "/" + name; }
  std::vector<std::string> parts() const {
    std::vector<std::string> names = names_in(path);
    std::erase_if(names, [](const std::string& name) { return !is_part_name(name); });
    return names;
  }
  std::string error(int ranks = 2) const { return load_error(path, kStep, ranks); }

  static constexpr int64_t kStep = 3;
  const TemporaryDirectory run;
  const std::string path;
};

inline std::string error_of_run_state(const std::string& path) {
  try {
    read_run_state(path);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kCheckpoint) << error.what();
    return error.what();
  }
  return {};
}

}  // namespace annulus::test
