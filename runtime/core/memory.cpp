#include "runtime/core/memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>

namespace annulus {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// The number behind `key` in files like /proc/meminfo ("MemAvailable:  123 kB"), in bytes; -1 if it is not there.
int64_t kilobytes_after(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) != 0) continue;
    std::istringstream rest(line.substr(key.size()));
    int64_t kilobytes = -1;
    rest >> kilobytes;
    return kilobytes < 0 ? -1 : kilobytes * 1024;
  }
  return -1;
}

int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t value = -1;
  file >> value;  // "max" leaves the stream failed
  return file ? value : -1;
}

// The number behind `key` in a file like memory.stat; 0 if it is not there.
int64_t bytes_after(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  int64_t value = 0;
  for (std::string name; file >> name >> value;)
    if (name == key) return value;
  return 0;
}

// Where a version of control groups keeps what we read.
struct ControlGroupFiles {
  const char *mount, *limit, *used, *inactive_cache, *active_cache;
};
constexpr ControlGroupFiles kVersion1 = {"/memory", "/memory.limit_in_bytes", "/memory.usage_in_bytes",
                                         "total_inactive_file", "total_active_file"};
constexpr ControlGroupFiles kVersion2 = {"", "/memory.max", "/memory.current", "inactive_file", "active_file"};

// Of one group. Cached files count as used, but make room when it is needed.
int64_t room_in(const std::string& group, const ControlGroupFiles& files) {
  const int64_t limit = number_in(group + files.limit), used = number_in(group + files.used);
  if (limit < 0 || used < 0) return kNoLimit;
  const std::string stat = group + "/memory.stat";
  return std::max<int64_t>(
      0, limit - used + bytes_after(stat, files.inactive_cache) + bytes_after(stat, files.active_cache));
}

}  // namespace

int64_t control_group_room(const std::string& groups_of_process, const std::string& mount) {
  std::ifstream file(groups_of_process);
  int64_t room = kNoLimit;
  for (std::string line; std::getline(file, line);) {  // "number:controllers:path"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool version1 = controllers.find(",memory,") != std::string::npos;
    if (!version1 && line.compare(0, second, "0:") != 0) continue;
    const ControlGroupFiles& files = version1 ? kVersion1 : kVersion2;
    // A group is bound by the limits of all that it lies in; the outer ones may not be visible from within a container.
    std::string path = line.substr(second + 1);
    while (!path.empty() && path.back() == '/') path.pop_back();
    for (;;) {
      room = std::min(room, room_in(mount + files.mount + path, files));
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return room;
}

int64_t available_memory() {
  const int64_t available = kilobytes_after("/proc/meminfo", "MemAvailable:");
  return std::min(available < 0 ? kNoLimit : available, control_group_room("/proc/self/cgroup", "/sys/fs/cgroup"));
}

// Called inside a step: without a stream, whose buffer would come from the heap.
int64_t memory_held() {
  char text[4096];
  const int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  text[size > 0 ? size : 0] = '\0';
  const auto bytes_of = [&](const std::string_view name) {
    const char* line = std::strstr(text, name.data());
    return line ? std::atoll(line + name.size()) * 1024 : 0;
  };
  const int64_t held = bytes_of("\nPss_Anon:") + bytes_of("\nPss_Shmem:");
  return held > 0 ? held : bytes_of("\nPss:");  // kernels before 5.3 tell only the sum
}

std::string human_bytes(int64_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024.0 && unit < 4) {
    value /= 1024.0;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
  return text;
}

}  // namespace annulus
