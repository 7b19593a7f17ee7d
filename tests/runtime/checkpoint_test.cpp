// Checkpoints: what is saved on some ranks comes back, bit by bit, on any others.
#include "runtime/checkpoint.h"

#include <gtest/gtest.h>

#include "runtime/hdf5_file.h"
#include "tests/runtime/checkpoint_case.h"

namespace annulus::test {
namespace {

constexpr int64_t kSmallPart = 20 << 10;  // cuts the larger tensors of kTensors

const std::vector<std::pair<std::string, Cut>> kCuts = {
    {"even", kEven}, {"whole tensors", kWhole}, {"all on the last", kLastOwnsAll}};

TEST(Checkpoint, SavedOnAnyRanksLoadsOnAnyOthers) {
  const TemporaryDirectory run;
  int64_t step = 0;
  for (const auto& [saved_as, save_cut] : kCuts)
    for (const int ranks : {1, 2, 3, 4}) {
      const SavedCheckpoint saved = save(run.path, ++step, ranks, save_cut, {.part_bytes = kSmallPart});
      ASSERT_TRUE(saved.ok) << saved.problem;
      for (const auto& [loaded_as, load_cut] : kCuts)
        for (const int others : {1, 2, 3, 4, 5})
          EXPECT_EQ(load_error(saved.path, step, others, load_cut), "")
              << saved_as << " on " << ranks << " -> " << loaded_as << " on " << others;
      EXPECT_EQ(load_error(saved.path, step, 3, kEverybodyAll), "");
    }
}

TEST(Checkpoint, CutsTensorsIntoPartsWithinTheLimit) {
  const TemporaryDirectory run;
  std::vector<NamedShape> tensors = kTensors;
  tensors.push_back({"/model/wide", {3, 9000}});  // a row is larger than a part
  for (const int64_t limit : {16 << 10, 20 << 10, 33 << 10, 1 << 20}) {
    const SavedCheckpoint saved = save(run.path, limit, 2, kEven, {.part_bytes = limit}, tensors);
    ASSERT_TRUE(saved.ok) << saved.problem;
    EXPECT_EQ(load_error(saved.path, limit, 3, kWhole, tensors), "");
    int64_t bytes = 0, larger = 0;
    for (const std::string& name : names_in(saved.path)) {
      const auto size = static_cast<int64_t>(fs::file_size(saved.path + "/" + name));
      bytes += size;
      if (size <= limit || !is_part_name(name)) continue;
      ++larger;
      EXPECT_LT(size, limit + 9000 * 4) << name;
    }
    EXPECT_EQ(bytes, saved.bytes);
    EXPECT_EQ(larger, limit < 9000 * 4 ? 3 : 0) << "limit " << limit;
    EXPECT_TRUE(fs::exists(saved.path + "/part-00001-00.h5"));
    EXPECT_EQ(fs::exists(saved.path + "/part-00001-01.h5"), limit < 1 << 20);
  }
}

TEST(Checkpoint, WritesNoPartsOfRanksThatOwnNothing) {
  const TemporaryDirectory run;
  const SavedCheckpoint saved = save(run.path, 7, 3, kLastOwnsAll);
  ASSERT_TRUE(saved.ok) << saved.problem;
  const std::vector<std::string> expected = {"MANIFEST", "part-00000-00.h5", "part-00002-00.h5", "view.h5"};
  EXPECT_EQ(names_in(saved.path), expected);
  const SavedCheckpoint empty = save(run.path, 8, 2, kEven, {}, {});
  ASSERT_TRUE(empty.ok) << empty.problem;
  EXPECT_EQ(load_error(empty.path, 8, 3, kEven, {}), "");
}

TEST(Checkpoint, KeepsTheRunState) {
  const TemporaryDirectory run;
  RunState state = state_of(123456789012);
  state.seed = INT64_MIN;
  for (const std::string& config : {state.config_text, std::string(), std::string(100000, 'x')}) {
    state.config_text = config;
    ++state.step;
    run_ranks(2, [&](Group& world) {
      const SavedCheckpoint saved = save_checkpoint(run.path, state, {}, world);
      EXPECT_EQ(saved.path, run.path + "/checkpoints/step-" + std::to_string(state.step));
      if (world.rank() != 0) return;
      const RunState read = read_run_state(saved.path);
      EXPECT_EQ(read.run_name, state.run_name);
      EXPECT_EQ(read.code_version, state.code_version);
      EXPECT_EQ(read.config_text, state.config_text);
      EXPECT_EQ(read.step, state.step);
      EXPECT_EQ(read.tokens, state.tokens);
      EXPECT_EQ(read.rows, state.rows);
      EXPECT_EQ(read.seed, state.seed);
      EXPECT_EQ(read.data_digest, state.data_digest);
      EXPECT_EQ(read.tokenizer_digest, state.tokenizer_digest);
    });
  }
}

TEST(Checkpoint, ManifestSurvivesItsText) {
  Manifest manifest;
  manifest.state = {"a run", "", "", 3, 2, 1, -5, "of the text"};
  manifest.ranks = 12345;
  manifest.config_digest = digest_of(std::string("config"));
  manifest.files = {{kFirstPartName, 1000, digest_of(std::string("a"))},
                    {"part-12344-123.h5", int64_t{1} << 40, digest_of(std::string("b"))},
                    {kViewName, 0, digest_of(std::string())}};
  const std::string text = manifest_text(manifest);
  EXPECT_EQ(manifest_text(parse_manifest(text)), text);
  EXPECT_EQ(digest_of(std::string()), "99aa06d3014798d86001c324468d497f");  // of xxhsum -H2
  expect_in("annulus-checkpoint 1\nrun a run\nstep 3\nranks 12345\nconfig ", text);
  expect_in("\ndata of the text\ntokens 2\nrows 1\nseed -5\nversion \nfile part-00000-00.h5 1000 ", text);
  expect_in("\ndigest ", text);
  manifest.state.tokenizer_digest = digest_of(std::string("c"));
  const std::string cut = manifest_text(manifest);
  EXPECT_EQ(manifest_text(parse_manifest(cut)), cut);
  EXPECT_EQ(parse_manifest(cut).state.data_digest, "of the text");
  EXPECT_EQ(parse_manifest(cut).state.tokenizer_digest, manifest.state.tokenizer_digest);
  expect_in("\ndata of the text tokenizer " + manifest.state.tokenizer_digest + "\ntokens 2\n", cut);
  for (const char* name : {"part-00000-00.h5", "part-99999-100.h5"}) EXPECT_TRUE(is_part_name(name)) << name;
  for (const char* name : {"part-0000-00.h5", "part-00000-0.h5", "part-00000-00.h5x", "/part-00000-00.h5",
                           "part-00000-0/.h5", "part-000000-00.h5", "view.h5", "", "part-00000-00xh5"})
    EXPECT_FALSE(is_part_name(name)) << name;
}

TEST(Checkpoint, SameStateIsTheSameBytes) {
  const TemporaryDirectory one, other;
  const SavedCheckpoint a = save(one.path, 5, 3), b = save(other.path, 5, 3);
  ASSERT_TRUE(a.ok && b.ok);
  ASSERT_EQ(names_in(a.path), names_in(b.path));
  for (const std::string& name : names_in(a.path))
    EXPECT_TRUE(read_text(a.path + "/" + name) == read_text(b.path + "/" + name)) << name;
}

TEST(Checkpoint, SavingAStepAgainLeavesItAlone) {
  const TemporaryDirectory run;
  const SavedCheckpoint first = save(run.path, 5, 2);
  ASSERT_TRUE(first.ok);
  const auto written = fs::last_write_time(first.path + "/MANIFEST");
  const SavedCheckpoint again = save(run.path, 5, 3);
  EXPECT_TRUE(again.ok) << again.problem;
  EXPECT_EQ(again.path, first.path);
  EXPECT_EQ(again.bytes, first.bytes);
  EXPECT_EQ(fs::last_write_time(first.path + "/MANIFEST"), written);
  EXPECT_EQ(names_in(run.path + "/checkpoints"), std::vector<std::string>{"step-00000005"});

  auto save_with = [&](auto&& change) {
    std::string problem;
    run_ranks(2, [&](Group& world) {
      RunState state = state_of(5);
      change(state);
      const SavedCheckpoint saved = save_checkpoint(run.path, state, {}, world);
      EXPECT_FALSE(saved.ok);
      if (world.rank() == 1) problem = saved.problem;
    });
    EXPECT_EQ(load_error(first.path, 5, 2), "");
    return problem;
  };
  expect_in("another config", save_with([](RunState& state) { state.config_text += "x"; }));
  expect_in("another place in the data", save_with([](RunState& state) { ++state.tokens; }));
  const std::string view = read_text(first.path + "/view.h5");
  write_text(first.path + "/view.h5", view + "x");
  expect_in("already but damaged", save_with([](RunState&) {}));
  write_text(first.path + "/view.h5", view);
}

TEST(Checkpoint, ListsCompleteOnesNewestFirst) {
  const TemporaryDirectory run;
  EXPECT_TRUE(list_checkpoints(run.path).empty());
  const std::string directory = run.path + "/checkpoints/";
  for (const char* name :
       {"step-00000002", "step-00000010", "step-99999999", "step-100000000", "step-123456789012345678901",
        "step-0000003", "step-00000003.tmp-12", "step-00000004x", "xstep-00000004", "step-"}) {
    fs::create_directories(directory + name);
    write_text(directory + name + "/MANIFEST", "");
  }
  fs::create_directories(directory + "step-00000005");  // without MANIFEST
  write_text(directory + "step-00000006", "");
  const std::vector<std::string> expected = {directory + "step-123456789012345678901", directory + "step-100000000",
                                             directory + "step-99999999", directory + "step-00000010",
                                             directory + "step-00000002"};
  EXPECT_EQ(list_checkpoints(run.path), expected);
}

TEST(Checkpoint, RefusesToSaveWhatNobodyCouldLoad) {
  using List = std::vector<TensorRows>;
  const TemporaryDirectory run;
  std::vector<float> memory(100);
  float* data = memory.data();
  auto problem_of_lists = [&](const List& on_rank_0, const List& on_rank_1) {
    std::string problem;
    run_ranks(2, [&](Group& world) {
      const List& list = world.rank() == 0 ? on_rank_0 : on_rank_1;
      const SavedCheckpoint saved = save_checkpoint(run.path, state_of(1), list, world);
      EXPECT_FALSE(saved.ok);
      if (world.rank() == 0) problem = saved.problem;
    });
    EXPECT_TRUE(names_in(run.path + "/checkpoints").empty());
    return problem;
  };
  expect_in("rows [2, 3) of /a are in part-00000-00.h5 and again in part-00001-00.h5",
            problem_of_lists({{"/a", {4}, 0, 3, data}}, {{"/a", {4}, 2, 2, data}}));
  expect_in("rows [3, 5) of /a are not there", problem_of_lists({{"/a", {9}, 0, 3, data}}, {{"/a", {9}, 5, 4, data}}));
  expect_in("/a has shape (5)", problem_of_lists({{"/a", {4}, 0, 2, data}}, {{"/a", {5}, 2, 3, data}}));
  for (const char* name : {"a", "/", "/a/", "//a", "/a b", "/a/../b", "/.", "/a\n", "/config"})
    expect_in("bug in annulus", problem_of_lists({}, {{name, {4}, 0, 4, data}}));
  expect_in("bug in annulus", problem_of_lists({}, {{"/a", {4}, 3, 2, data}}));
  expect_in("bug in annulus", problem_of_lists({}, {{"/a", {2, 2, 2}, 0, 2, data}}));
  expect_in("cannot build", problem_of_lists({}, {{"/a", {1}, 0, 1, data}, {"/a/b", {1}, 0, 1, data}}));
}

TEST(Checkpoint, ViewShowsEveryTensorWhole) {
  std::string python;
  for (const char* candidate : {"python3", "/usr/bin/python3"})
    if (python.empty() && std::system(concat(candidate, " -c 'import h5py' 2>/dev/null").c_str()) == 0)
      python = candidate;
  if (python.empty()) GTEST_SKIP() << "no python3 with h5py";
  const TemporaryDirectory run;
  const SavedCheckpoint saved = save(run.path, 9, 3, kEven, {.part_bytes = kSmallPart});
  ASSERT_TRUE(saved.ok) << saved.problem;
  const std::string moved = run.path + "/moved elsewhere";  // its names are relative
  fs::rename(saved.path, moved);
  const std::string check =
      python + " " ANNULUS_SOURCE_DIR "/tests/end_to_end/check_view.py '" + moved + "' > '" + run.path + "/out' 2>&1";
  EXPECT_EQ(std::system(check.c_str()), 0) << read_text(run.path + "/out");
  expect_in(concat(kTensors.size(), " tensors"), read_text(run.path + "/out"));

  // The same through the library that wrote it.
  const Hdf5Reader view(moved + "/view.h5");
  for (const NamedShape& tensor : kTensors) {
    std::vector<float> values(static_cast<size_t>(tensor.shape.numel()));
    Shape origin = tensor.shape;
    for (int i = 0; i < origin.rank(); ++i) origin.set(i, 0);
    view.read(tensor.name, origin, tensor.shape, values.data());
    EXPECT_EQ(std::memcmp(values.data(), whole_tensor(tensor, 9).data(), values.size() * sizeof(float)), 0)
        << tensor.name;
  }

  fs::remove(moved + "/part-00001-00.h5");
  EXPECT_NE(std::system(check.c_str()), 0) << "a missing part goes unnoticed";
}

}  // namespace
}  // namespace annulus::test
