#include "runtime/hdf5_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "runtime/core/memory.h"
#include "runtime/hdf5_handle.h"

namespace annulus {
namespace {

using Descriptor = Handle<int, ::close, -1>;

constexpr size_t kLargestCall = size_t{1} << 30;  // Linux moves at most 2 GiB at a time

Descriptor open_file(const std::string& path, int flags) {
  for (;;) {
    const int fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
    if (fd >= 0 || errno != EINTR) return Descriptor(fd);
  }
}

std::string directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  return directory.empty() ? "." : directory;
}

[[noreturn]] void fail_to_write(const std::string& path, int error, const std::string& done) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  fail(ExitCode::kStorage, "cannot write '", path, "': ", std::strerror(error), done,
       full ? "; make room there or raise the limit" : "; check the directory and its permissions");
}

}  // namespace

void write_new_file(const std::string& path, std::span<const std::byte> bytes) {
  Descriptor file = open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
  if (file.get() < 0) fail_to_write(path, errno, "");
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t written = write(file.get(), bytes.data() + done, std::min(kLargestCall, bytes.size() - done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      fail_to_write(path, written < 0 ? errno : ENOSPC, concat(" after ", done, " of ", bytes.size(), " bytes"));
    done += static_cast<size_t>(written);
  }
  // A failed fsync may not fail again although the bytes are lost: this file is given up, never tried again.
  if (fsync(file.get()) != 0) fail_to_write(path, errno, " when its bytes went to the disk");
  if (::close(file.release()) != 0) fail_to_write(path, errno, " when it was closed");
}

void write_new_file(const std::string& path, std::string_view text) {
  write_new_file(path, std::as_bytes(std::span(text)));
}

void sync_directory(const std::string& path) {
  Descriptor directory = open_file(path, O_RDONLY | O_DIRECTORY);
  if (directory.get() < 0 || fsync(directory.get()) != 0)
    fail_to_write(path, errno, " when its names went to the disk");
  if (::close(directory.release()) != 0) fail_to_write(path, errno, " when it was closed");
}

void rename_durably(const std::string& from, const std::string& to) {
  const bool renamed = std::rename(from.c_str(), to.c_str()) == 0;
  require(ExitCode::kStorage, renamed, "cannot rename '", from, "' to '", to, "': ", std::strerror(errno),
          "; if something is there already, move it away, else check the permissions");
  sync_directory(directory_of(to));
}

void replace_file(const std::string& path, std::span<const std::byte> bytes) {
  const std::string temporary = path + ".tmp";
  unlink(temporary.c_str());  // of a run that was killed; if it cannot be removed, the next line says so
  try {
    write_new_file(temporary, bytes);
    rename_durably(temporary, path);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
}

std::vector<std::byte> read_whole_file(const std::string& path, int64_t most_bytes, ExitCode code) {
  // Not blocking: a pipe in the file's place would make open() wait for a writer.
  const Descriptor file = open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  require(code, file.get() >= 0, "cannot open '", path, "': ", errno == ELOOP ? "it is a link" : std::strerror(errno));
  struct stat status = {};
  require(code, fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode), "'", path, "' is not a regular file");
  require(code, status.st_size <= most_bytes, "'", path, "' has ", status.st_size, " bytes where at most ", most_bytes,
          " belong");
  require(code, status.st_size <= available_memory(), "'", path, "' (", human_bytes(status.st_size),
          ") does not fit into the ", human_bytes(available_memory()), " of memory that are left");
  std::vector<std::byte> bytes(static_cast<size_t>(status.st_size));
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t got = read(file.get(), bytes.data() + done, std::min(kLargestCall, bytes.size() - done));
    if (got < 0 && errno == EINTR) continue;
    require(code, got >= 0, "cannot read '", path, "': ", std::strerror(errno));
    require(code, got > 0, "'", path, "' ends after ", done, " of ", bytes.size(), " bytes");
    done += static_cast<size_t>(got);
  }
  return bytes;
}

}  // namespace annulus
