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

// What the control group of this process (version 2) leaves; no limit reads as the largest number.
int64_t control_group_room() {
  constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::", 0) != 0) continue;
    const std::string group = "/sys/fs/cgroup" + line.substr(3);
    const int64_t limit = number_in(group + "/memory.max"), used = number_in(group + "/memory.current");
    if (limit >= 0 && used >= 0) return std::max<int64_t>(0, limit - used);
  }
  return kNoLimit;
}

}  // namespace

int64_t available_memory() {
  const int64_t available = kilobytes_after("/proc/meminfo", "MemAvailable:");
  return std::min(available < 0 ? std::numeric_limits<int64_t>::max() : available, control_group_room());
}

// Called inside a step: without a stream, whose buffer would come from the heap.
int64_t proportional_set_size() {
  char text[4096];
  const int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t bytes = read(file, text, sizeof text - 1);
  close(file);
  text[bytes > 0 ? bytes : 0] = '\0';
  const char* line = std::strstr(text, "\nPss:");
  return line ? std::atoll(line + 5) * 1024 : 0;
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
