// Saves that fail or are killed: whatever was committed stays, and what was not never counts.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <random>
#include <thread>

#include "tests/runtime/checkpoint_case.h"

namespace annulus::test {
namespace {

/// What the system calls below do: fail when the countdown reaches 0, or do their work in small and interrupted pieces.
std::atomic<int64_t> calls_until_failure{-1};
std::atomic<bool> write_in_pieces{false};

bool fails_now() { return calls_until_failure.load() >= 0 && calls_until_failure.fetch_sub(1) == 0; }

}  // namespace
}  // namespace annulus::test

// These stand before those of libc, for the whole test program.
extern "C" int fsync(int file) {
  if (annulus::test::fails_now()) return errno = EIO, -1;
  return static_cast<int>(syscall(SYS_fsync, file));
}
extern "C" int close(int file) {
  const auto result = static_cast<int>(syscall(SYS_close, file));  // closes the file also where it fails
  if (annulus::test::fails_now()) return errno = EIO, -1;
  return result;
}
extern "C" int rename(const char* from, const char* to) noexcept {
  if (annulus::test::fails_now()) return errno = EIO, -1;
  return static_cast<int>(syscall(SYS_rename, from, to));
}
extern "C" ssize_t write(int file, const void* bytes, size_t count) {
  static std::atomic<int64_t> number{0};
  if (annulus::test::fails_now()) return errno = EIO, -1;
  if (!annulus::test::write_in_pieces) return syscall(SYS_write, file, bytes, count);
  if (++number % 3 == 0) return errno = EINTR, -1;
  return syscall(SYS_write, file, bytes, std::min<size_t>(count, 1000));
}

namespace annulus::test {
namespace {

int64_t step_of(const std::string& path) { return std::stoll(fs::path(path).filename().string().substr(5)); }

size_t leftovers_in(const std::string& run) {
  const std::vector<std::string> names = names_in(run + "/checkpoints");
  return static_cast<size_t>(std::count_if(names.begin(), names.end(),
                                           [](const std::string& name) { return name.find(".tmp-") != name.npos; }));
}

void expect_failed(const SavedCheckpoint& saved, const std::string& why) {
  EXPECT_FALSE(saved.ok);
  EXPECT_EQ(saved.path, "");
  expect_in(why, saved.problem);
}

// ---- kill -9

/// Saves one step after the other, tells of each that is committed, and deletes older ones. Never returns.
[[noreturn]] void save_for_ever(const std::string& run, int64_t first_step, int64_t keep, int pipe) {
  for (int64_t step = first_step;; ++step) {
    bool ok = false;
    run_ranks(2, [&](Group& world) {
      HeldRows held(kTensors, kEven, world);
      held.fill(step);
      const SavedCheckpoint saved =
          detail::save_checkpoint(run, state_of(step), held.views, world, {.part_bytes = 20 << 10});
      if (world.rank() == 0) ok = saved.ok;
    });
    if (!ok || write(pipe, &step, sizeof step) != sizeof step) _exit(1);
    delete_old_checkpoints(run, state_of(step), keep);
  }
}

constexpr int kMostKills = 1000;

/// Seconds since some moment: how long saves take here decides when they are killed, never what must come of it.
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Saves from `first_step` on until it is killed after some seconds; the steps it has reported as committed.
std::vector<int64_t> steps_until_killed(const std::string& run, int64_t first_step, int64_t keep, double seconds) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    save_for_ever(run, first_step, keep, ends[1]);
  }
  close(ends[1]);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  EXPECT_EQ(kill(child, SIGKILL), 0);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "a save failed without being killed";
  std::vector<int64_t> steps;
  for (int64_t step = 0; read(ends[0], &step, sizeof step) == sizeof step;) steps.push_back(step);
  close(ends[0]);
  return steps;
}

TEST(CheckpointFaults, WhatWasCommittedSurvivesKill9AtAnyMoment) {
  const TemporaryDirectory run;
  std::mt19937 random(3);
  double before_save = 0.0;
  for (const int64_t step : {1, 2}) {
    before_save = now();
    ASSERT_TRUE(save(run.path, step, 2, kEven, {.part_bytes = 20 << 10}).ok);
  }
  std::uniform_real_distribution<double> until_kill(0.0, 4.0 * (now() - before_save));  // some saves
  int64_t newest = 2, kills = 0, cut_off = 0, checked = 0;
  size_t commits = 0;
  // Until enough has happened: on a busy machine saves take longer than the two above.
  for (; kills < 60 || (kills < kMostKills && (commits < 10 || cut_off < 10)); ++kills) {
    const std::vector<int64_t> steps = steps_until_killed(run.path, newest + 1, 0, until_kill(random));
    const int64_t reported = steps.empty() ? newest : steps.back();
    commits += steps.size();
    EXPECT_LE(leftovers_in(run.path), 1u);
    cut_off += static_cast<int64_t>(leftovers_in(run.path));
    const std::vector<std::string> listed = list_checkpoints(run.path);
    newest = listed.empty() ? 0 : step_of(listed[0]);
    EXPECT_GE(newest, reported) << "a committed checkpoint is lost";
    EXPECT_LE(newest, reported + 1);
    for (size_t i = 0; i < listed.size(); ++i) {
      EXPECT_EQ(load_error(listed[i], step_of(listed[i]), 1 + static_cast<int>(random() % 3)), "");
      EXPECT_EQ(read_run_state(listed[i]).step, step_of(listed[i]));
      ++checked;
      if (i > 0) fs::remove_all(listed[i]);
    }
  }
  std::cout << kills << " kills: " << commits << " commits, " << cut_off << " saves cut off, " << checked << " loads\n";
  EXPECT_GE(commits, 10u);
  EXPECT_GE(cut_off, 10);
}

TEST(CheckpointFaults, TheNewestStayThoughDeletingIsKilledAtAnyMoment) {
  constexpr int64_t kKeep = 2;
  const TemporaryDirectory run;
  std::mt19937 random(4);
  const double begin = now();
  ASSERT_TRUE(save(run.path, 1, 2, kEven, {.part_bytes = 20 << 10}).ok);
  std::uniform_real_distribution<double> until_kill(0.0, 6.0 * (now() - begin));
  int64_t newest = 1, half_deleted = 0;
  for (int kills = 0; kills < 40 || (kills < kMostKills && (newest < 10 || half_deleted < 3)); ++kills) {
    const std::vector<int64_t> steps = steps_until_killed(run.path, newest + 1, kKeep, until_kill(random));
    const std::vector<std::string> listed = list_checkpoints(run.path);
    ASSERT_FALSE(listed.empty());
    EXPECT_GE(step_of(listed[0]), steps.empty() ? newest : steps.back());
    newest = step_of(listed[0]);
    EXPECT_GE(listed.size(), static_cast<size_t>(std::min(kKeep, newest)));
    for (const std::string& name : names_in(run.path + "/checkpoints"))
      half_deleted += name.find(".tmp-") != name.npos && std::stoll(name.substr(5)) < newest;
    for (size_t i = 0; i < listed.size(); ++i) {
      EXPECT_EQ(step_of(listed[i]), newest - static_cast<int64_t>(i)) << "a newer one is gone before an older one";
      EXPECT_EQ(load_error(listed[i], step_of(listed[i]), 1 + static_cast<int>(random() % 3)), "");
    }
  }
  ASSERT_TRUE(save(run.path, ++newest, 2).ok);
  delete_old_checkpoints(run.path, state_of(newest), kKeep);
  EXPECT_EQ(names_in(run.path + "/checkpoints").size(), static_cast<size_t>(kKeep));
  std::cout << newest << " saves, " << half_deleted << " deletions cut off\n";
  EXPECT_GE(newest, 10);
  EXPECT_GE(half_deleted, 3);
}

// ---- full disks

/// A small file system of its own, or nothing where mounting is not permitted.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& size) {
    mounted = mount("none", directory_.path.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted) umount2(path().c_str(), MNT_DETACH);
  }
  const std::string& path() const { return directory_.path; }
  bool mounted = false;

 private:
  TemporaryDirectory directory_;
};

TEST(CheckpointFaults, FullDiskCostsOnlyTheSaveItself) {
  const SmallDisk disk("1m");
  if (!disk.mounted) GTEST_SKIP() << "may not mount a tmpfs (not root?)";
  const detail::SaveOptions unchecked = {.part_bytes = 20 << 10, .check_space = false};
  const SavedCheckpoint old = save(disk.path(), 1, 2, kEven, unchecked);
  ASSERT_TRUE(old.ok) << old.problem;
  int64_t step = 1, failed = 0, saved = 0;
  // From no space at all on, a page more each time: the disk is full at every write there is.
  for (int64_t free = 0; free < 2 * old.bytes; free += 4096) {
    const int filler = open((disk.path() + "/filler").c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    ASSERT_GE(filler, 0);
    const auto space = static_cast<int64_t>(fs::space(disk.path()).available);
    ASSERT_EQ(posix_fallocate(filler, 0, std::max<int64_t>(1, space - free)), 0);
    close(filler);
    const SavedCheckpoint next = save(disk.path(), ++step, 2, kEven, unchecked);
    ++(next.ok ? saved : failed);
    if (!next.ok) expect_failed(next, "No space left on device");
    EXPECT_EQ(leftovers_in(disk.path()), 0u);
    EXPECT_EQ(list_checkpoints(disk.path()).size(), next.ok ? 2u : 1u);
    if (next.ok) {
      EXPECT_EQ(load_error(next.path, step, 3), "");
      fs::remove_all(next.path);
    }
    EXPECT_EQ(load_error(old.path, 1, 1), "");
  }
  EXPECT_GE(failed, 10);
  EXPECT_GE(saved, 5);
}

TEST(CheckpointFaults, TooLittleSpaceIsSeenBeforeAnythingIsWritten) {
  const SmallDisk disk("1m");
  if (!disk.mounted) GTEST_SKIP() << "may not mount a tmpfs (not root?)";
  expect_failed(save(disk.path(), 1, 3), "left; make room there");
  EXPECT_TRUE(names_in(disk.path() + "/checkpoints").empty());
}

TEST(CheckpointFaults, FileSizeLimitFailsTheSaveOnEveryRank) {
  const TemporaryDirectory run;
  const SavedCheckpoint old = save(run.path, 1, 2);
  ASSERT_TRUE(old.ok) << old.problem;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  for (const rlim_t limit : {0, 1, 300, 5000, 12000}) {  // MANIFEST, view and parts of different sizes
    const rlimit small = {limit, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const SavedCheckpoint next = save(run.path, 2, 3);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    expect_failed(next, "File too large");
    EXPECT_EQ(names_in(run.path + "/checkpoints"), std::vector<std::string>{"step-00000001"});
    EXPECT_EQ(load_error(old.path, 1, 2), "");
  }
  signal(SIGXFSZ, handler);
  const SavedCheckpoint later = save(run.path, 2, 3);
  ASSERT_TRUE(later.ok) << later.problem;
  EXPECT_EQ(load_error(later.path, 2, 2), "");
}

// ---- system calls that fail

TEST(CheckpointFaults, AnyFailingCallFailsTheSaveAndNothingElse) {
  const TemporaryDirectory run;
  const SavedCheckpoint old = save(run.path, 1, 2);
  ASSERT_TRUE(old.ok) << old.problem;
  int64_t failed = 0, step = 1;
  for (bool reached = true; reached; ++failed) {
    calls_until_failure = failed;
    const SavedCheckpoint next = save(run.path, ++step, 2);
    reached = calls_until_failure.exchange(-1) < 0;
    EXPECT_EQ(next.ok, !reached) << "call " << failed;
    if (reached) expect_in("Input/output error", next.problem);
    EXPECT_EQ(leftovers_in(run.path), 0u);
    EXPECT_EQ(load_error(old.path, 1, 2), "");
    const std::string newest = list_checkpoints(run.path)[0];
    if (newest == old.path) continue;
    EXPECT_EQ(load_error(newest, step, 2), "");  // it may stand although the disk would not promise to keep its name
    fs::remove_all(newest);
  }
  EXPECT_GE(failed, 15);  // 2 parts, view and MANIFEST; two directories; the new name
}

TEST(CheckpointFaults, AnyFailingCallOfADeletionIsAWarning) {
  const TemporaryDirectory run;
  for (const int64_t step : {1, 2, 3}) ASSERT_TRUE(save(run.path, step, 2).ok);
  int64_t failed = 0;
  for (bool reached = true; reached; ++failed) {
    testing::internal::CaptureStderr();
    calls_until_failure = failed;
    delete_old_checkpoints(run.path, state_of(3), 2);
    reached = calls_until_failure.exchange(-1) < 0;
    const std::string warnings = testing::internal::GetCapturedStderr();
    if (!warnings.empty()) expect_in("warning: cannot delete the old checkpoint", warnings);
    for (const int64_t step : {2, 3}) EXPECT_EQ(load_error(list_checkpoints(run.path)[3 - step], step, 1), "");
    EXPECT_EQ(leftovers_in(run.path) + list_checkpoints(run.path).size(), warnings.empty() ? 2u : 3u);
    fs::remove_all(run.path + "/checkpoints");
    for (const int64_t step : {1, 2, 3}) ASSERT_TRUE(save(run.path, step, 2).ok);
  }
  EXPECT_GE(failed, 3);  // the new name, and the directory that holds it
}

TEST(CheckpointFaults, ShortAndInterruptedWritesAreCarriedOn) {
  const TemporaryDirectory run;
  write_in_pieces = true;
  const SavedCheckpoint saved = save(run.path, 1, 2);
  write_in_pieces = false;
  ASSERT_TRUE(saved.ok) << saved.problem;
  EXPECT_EQ(load_error(saved.path, 1, 3), "");
}

// ---- things in the way

TEST(CheckpointFaults, ThingsInTheWayAreNeverTouched) {
  const TemporaryDirectory run;
  expect_failed(save(run.path + "/none", 1, 2), "cannot make the directory");
  write_text(run.path + "/checkpoints", "a file");
  expect_failed(save(run.path, 1, 2), "cannot make the directory");
  EXPECT_EQ(read_text(run.path + "/checkpoints"), "a file");
  fs::remove(run.path + "/checkpoints");

  const SavedCheckpoint old = save(run.path, 1, 2);
  ASSERT_TRUE(old.ok) << old.problem;
  const std::string in_the_way = run.path + "/checkpoints/step-00000002";
  write_text(in_the_way, "a file");
  expect_failed(save(run.path, 2, 2), "cannot rename");
  EXPECT_EQ(read_text(in_the_way), "a file");
  fs::remove(in_the_way);
  fs::create_directory(in_the_way);
  write_text(in_the_way + "/notes", "mine");
  expect_failed(save(run.path, 2, 2), "cannot rename");
  EXPECT_EQ(read_text(in_the_way + "/notes"), "mine");
  write_text(in_the_way + "/MANIFEST", "not one of ours");
  expect_failed(save(run.path, 2, 2), "no MANIFEST of annulus");
  EXPECT_EQ(leftovers_in(run.path), 0u);
  EXPECT_EQ(load_error(old.path, 1, 2), "");
  fs::remove_all(in_the_way);
  EXPECT_TRUE(save(run.path, 2, 2).ok);
}

TEST(CheckpointFaults, LeftoversOfKilledSavesAreRemovedAndNothingElse) {
  const TemporaryDirectory run;
  const std::string directory = run.path + "/checkpoints/";
  for (const char* name : {"step-00000001.tmp-0123456789abcdef", "step-00000007.tmp-x", "step-00000008.trash",
                           "mine.tmp-1", "step-1.tmp-1"}) {
    fs::create_directories(directory + name);
    write_text(directory + name + "/part-00000-00.h5", "half");
  }
  fs::create_directory(run.path + "/elsewhere");
  write_text(run.path + "/elsewhere/file", "mine");
  fs::create_directory_symlink(run.path + "/elsewhere", directory + "step-00000009.tmp-link");
  ASSERT_TRUE(save(run.path, 3, 2).ok);
  const std::vector<std::string> expected = {"mine.tmp-1", "step-00000003", "step-00000008.trash", "step-1.tmp-1"};
  EXPECT_EQ(names_in(directory), expected);
  EXPECT_EQ(read_text(run.path + "/elsewhere/file"), "mine");
}

}  // namespace
}  // namespace annulus::test
