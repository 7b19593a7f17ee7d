// Which checkpoints checkpoint.keep deletes, and that it touches nothing else.
#include <gtest/gtest.h>

#include "tests/runtime/checkpoint_case.h"

namespace annulus::test {
namespace {

void save_steps(const std::string& run, const std::vector<int64_t>& steps) {
  for (const int64_t step : steps) ASSERT_TRUE(save(run, step, 2).ok);
}

std::vector<std::string> checkpoints_of(const std::string& run) { return names_in(run + "/checkpoints"); }

/// What deleting warns about.
std::string warnings_of(const std::string& run, int64_t newest_step, int64_t keep) {
  testing::internal::CaptureStderr();
  delete_old_checkpoints(run, state_of(newest_step), keep);
  return testing::internal::GetCapturedStderr();
}

using Names = std::vector<std::string>;

TEST(CheckpointDelete, TheOldestBeyondTheNewestGo) {
  const TemporaryDirectory run;
  save_steps(run.path, {1, 2, 3, 10, 11});
  EXPECT_EQ(warnings_of(run.path, 11, 0), "");
  EXPECT_EQ(checkpoints_of(run.path).size(), 5u);
  EXPECT_EQ(warnings_of(run.path, 11, 1000000000), "");
  EXPECT_EQ(checkpoints_of(run.path).size(), 5u);
  EXPECT_EQ(warnings_of(run.path, 11, 4), "");
  EXPECT_EQ(checkpoints_of(run.path), (Names{"step-00000002", "step-00000003", "step-00000010", "step-00000011"}));
  EXPECT_EQ(warnings_of(run.path, 11, 1), "");
  EXPECT_EQ(checkpoints_of(run.path), Names{"step-00000011"});
  EXPECT_EQ(warnings_of(run.path, 11, 1), "");
  EXPECT_EQ(load_error(run.path + "/checkpoints/step-00000011", 11, 3), "");
}

TEST(CheckpointDelete, TheNewOneAndLaterOnesStay) {
  const TemporaryDirectory run;
  save_steps(run.path, {1, 2, 3, 4, 5});
  EXPECT_EQ(warnings_of(run.path, 3, 2), "");  // somebody has put 4 and 5 there: they are not of this course
  EXPECT_EQ(checkpoints_of(run.path), (Names{"step-00000002", "step-00000003", "step-00000004", "step-00000005"}));
}

TEST(CheckpointDelete, WhatIsNotAWholeCheckpointOfThisRunNeitherCountsNorGoes) {
  const TemporaryDirectory run, elsewhere;
  const std::string directory = run.path + "/checkpoints/";
  save_steps(run.path, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  save_steps(elsewhere.path, {10});
  auto path_of = [&](const std::string& name) { return directory + name; };
  fs::rename(path_of("step-00000002"), path_of("step-00000002.set-aside-1"));
  fs::copy(path_of("step-00000001"), path_of("best"));
  fs::copy(path_of("step-00000001"), path_of("step-000000005"));  // another step's
  fs::remove(path_of("step-00000003/part-00001-00.h5"));
  fs::resize_file(path_of("step-00000004/part-00000-00.h5"), 100);
  write_text(path_of("step-00000005/MANIFEST"), "annulus-checkpoint 3\nof another annulus\n");
  Manifest other = parse_manifest(read_text(path_of("step-00000006/MANIFEST")));
  other.state.run_name = "another";
  write_text(path_of("step-00000006/MANIFEST"), manifest_text(other));
  fs::rename(path_of("step-00000007"), run.path + "/seven");
  fs::create_directory_symlink(run.path + "/seven", path_of("step-00000007"));
  fs::create_directory(path_of("step-00000000"));  // without MANIFEST
  write_text(path_of("notes"), "mine");
  save_steps(run.path, {10});
  Names expected = checkpoints_of(run.path);
  EXPECT_EQ(warnings_of(run.path, 10, 3), "");
  std::erase(expected, "step-00000001");  // 8, 9 and 10 stay
  EXPECT_EQ(checkpoints_of(run.path), expected);
  EXPECT_EQ(warnings_of(run.path, 10, 1), "");
  std::erase(expected, "step-00000008");
  std::erase(expected, "step-00000009");
  EXPECT_EQ(checkpoints_of(run.path), expected);
  EXPECT_EQ(load_error(run.path + "/seven", 7, 1), "");
}

TEST(CheckpointDelete, WhatAKillLeavesIsRemovedByTheNextSave) {
  const TemporaryDirectory run;
  save_steps(run.path, {1, 2});
  const std::string directory = run.path + "/checkpoints/";
  fs::rename(directory + "step-00000001", directory + "step-00000001.tmp-0123456789abcdef");
  fs::remove(directory + "step-00000001.tmp-0123456789abcdef/part-00000-00.h5");
  EXPECT_EQ(list_checkpoints(run.path), Names{directory + "step-00000002"});
  save_steps(run.path, {3});
  EXPECT_EQ(checkpoints_of(run.path), (Names{"step-00000002", "step-00000003"}));
}

TEST(CheckpointDelete, WhatCannotBeDeletedIsAWarning) {
  const TemporaryDirectory run;
  EXPECT_EQ(warnings_of(run.path, 1, 1), "");  // nothing there
  write_text(run.path + "/checkpoints", "a file");
  expect_in("annulus: warning: old checkpoints were not deleted: cannot list", warnings_of(run.path, 1, 1));
}

}  // namespace
}  // namespace annulus::test
