#pragma once
// How much memory this machine can still give, and how much this process holds.
#include <cstdint>
#include <string>

namespace annulus {

/// Bytes this process may still take: the least of what the kernel calls available and what its control groups leave.
int64_t available_memory();

/// What the memory control groups of this process (version 1 or 2), and all that they lie in, leave; the largest number
/// where nothing limits it. `groups_of_process` is a file like /proc/self/cgroup, `mount` a directory like
/// /sys/fs/cgroup.
int64_t control_group_room(const std::string& groups_of_process, const std::string& mount);

/// Bytes that this process holds and the kernel cannot take back: its proportional set size (pages shared with other
/// ranks count in equal parts) without the pages of files, which are program text and data that can be read again. 0 if
/// unknown.
int64_t memory_held();

/// "1.25 GiB"
std::string human_bytes(int64_t bytes);

}  // namespace annulus
