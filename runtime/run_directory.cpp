#include "runtime/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "comm/agree.h"
#include "runtime/core/error.h"

namespace annulus {
namespace {

constexpr const char *kLockName = "/LOCK", *kNonceName = "/.seen-by-every-rank";
constexpr auto kVisibleWithin = std::chrono::seconds(5);  // network file systems cache directory listings for a while

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool appears(const std::string& path, const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + kVisibleWithin;
  while (read_file(path) != text) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

}  // namespace

RunDirectory::RunDirectory(const RunConfig& config, Mode mode, Group& world)
    : hold_(config.directory + "/" + config.name) {
  agree(world, [&] {
    if (world.rank() == 0) open_on_rank_0(mode);
  });
  const std::string nonce_path = hold_.path + kNonceName;
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const std::string nonce = world.broadcast(concat(getpid(), "-", now), 0, "the run directory's nonce");
  agree(world, [&] {
    if (world.rank() == 0) write_file(nonce_path, nonce);
  });
  agree(world, [&] {
    require(ExitCode::kStorage, appears(nonce_path, nonce), "rank ", world.rank(),
            " does not see the files of rank 0 in '", hold_.path,
            "': every rank must see the same run.directory; put it on a file system that all nodes share");
  });
  if (world.rank() == 0) unlink(nonce_path.c_str());
}

void RunDirectory::open_on_rank_0(Mode mode) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path above = fs::path(hold_.path).parent_path();
  for (fs::path part = above; !part.empty() && !fs::exists(part, error); part = part.parent_path())
    hold_.made_above.push_back(part.string());
  fs::create_directories(above, error);
  const bool made = mkdir(hold_.path.c_str(), 0755) == 0;
  require(ExitCode::kStorage, made || errno == EEXIST, "cannot make the run directory '", hold_.path,
          "': ", std::strerror(errno));
  require(ExitCode::kUsage, made || mode == Mode::kResume, "the run directory '", hold_.path, "' exists already; ",
          "continue that run with --resume=latest, or choose another name with --run.name=NAME");
  hold_.made = made;
  const std::string lock_path = hold_.path + kLockName;
  hold_.lock = open(lock_path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  require(ExitCode::kStorage, hold_.lock >= 0, "cannot make '", lock_path, "': ", std::strerror(errno));
  if (flock(hold_.lock, LOCK_EX | LOCK_NB) != 0) {
    std::string holder = read_file(lock_path);
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    fail(ExitCode::kLocked, "the run directory '", hold_.path, "' is in use by another run (", holder,
         "); wait for it, or choose another name with --run.name=NAME");
  }
  char host[256] = "unknown host";
  gethostname(host, sizeof host - 1);
  const std::string text = concat("host ", host, ", process ", getpid(), "\n");
  const bool written =
      ftruncate(hold_.lock, 0) == 0 && write(hold_.lock, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  require(ExitCode::kStorage, written, "cannot write '", lock_path, "': ", std::strerror(errno));
}

RunDirectory::Hold::~Hold() {
  if (made) {
    unlink((path + kNonceName).c_str());
    unlink((path + kLockName).c_str());
    rmdir(path.c_str());  // fails, and should, where there is something in it
  }
  for (const std::string& directory : made_above) rmdir(directory.c_str());
  if (lock >= 0) close(lock);
}

}  // namespace annulus
