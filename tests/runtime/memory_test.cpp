#include "runtime/core/memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

namespace annulus::test {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// A tree of control groups as the kernel shows one.
class ControlGroups : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(mount_); }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = mount_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  int64_t room(const std::string& groups) {
    const std::string file = root_ + "/cgroup";
    std::ofstream(file) << groups;
    return control_group_room(file, mount_);
  }

  const std::string root_ = testing::TempDir() + "annulus_control_groups_" + std::to_string(getpid());
  const std::string mount_ = root_ + "/mount";
};

TEST_F(ControlGroups, WithoutALimitLeaveEverything) {
  EXPECT_EQ(room(""), kNoLimit);
  EXPECT_EQ(room("0::/job\n"), kNoLimit);
  write("/job/memory.max", "max");
  write("/job/memory.current", "5000");
  EXPECT_EQ(room("0::/job\n"), kNoLimit);
}

TEST_F(ControlGroups, LeaveTheLeastOfAllThatTheProcessLiesIn) {
  for (const std::string group : {"/slurm", "/slurm/job", "/slurm/job/task"}) {
    write(group + "/memory.max", group == "/slurm/job" ? "9000" : "max");
    write(group + "/memory.current", "5000");
  }
  EXPECT_EQ(room("0::/slurm/job/task\n"), 4000);
  write("/slurm/memory.max", "5100");
  EXPECT_EQ(room("0::/slurm/job/task\n"), 100);
  write("/slurm/memory.max", "4000");  // over the limit already
  EXPECT_EQ(room("0::/slurm/job/task\n"), 0);
  EXPECT_EQ(room("0::/elsewhere\n"), kNoLimit);
}

TEST_F(ControlGroups, CachedFilesMakeRoom) {
  write("/job/memory.max", "9000");
  write("/job/memory.current", "9000");
  write("/job/memory.stat", "anon 1000\nfile 8000\ninactive_file 5000\nactive_file 2000\nslab 500");
  EXPECT_EQ(room("0::/job\n"), 7000);
}

TEST_F(ControlGroups, OfVersionOneAndOfBoth) {
  write("/memory/box/memory.limit_in_bytes", "9000");
  write("/memory/box/memory.usage_in_bytes", "6000");
  write("/memory/box/memory.stat", "inactive_file 1\ntotal_inactive_file 300\ntotal_active_file 40");
  const std::string groups = "5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n";
  EXPECT_EQ(room(groups), 3340);
  EXPECT_EQ(room("4:hugetlb,memory:/box/inner\n"), 3340);
  write("/memory.max", "50");
  write("/memory.current", "10");
  EXPECT_EQ(room(groups), 40);
}

TEST(AvailableMemory, IsThereAndNoMoreThanTheMachineHas) {
  EXPECT_GT(available_memory(), 0);
  EXPECT_LT(available_memory(), int64_t{1} << 50);
}

}  // namespace
}  // namespace annulus::test
