#include "runtime/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/core/error.h"

namespace annulus {

NewFile::NewFile(const std::string& path) : path_(path), temporary_(path + ".tmp") {
  file_ = open(temporary_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  check(file_ >= 0);
}

NewFile::~NewFile() {
  if (file_ >= 0) close(file_);
  if (!committed_) unlink(temporary_.c_str());
}

void NewFile::check(bool ok) const {
  require(ExitCode::kStorage, ok, "cannot write '", path_, "': ", std::strerror(errno));
}

void NewFile::append(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(file_, text.data(), text.size());
    check(written >= 0 || errno == EINTR);
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
}

void NewFile::commit() {
  check(fsync(file_) == 0);
  check(close(std::exchange(file_, -1)) == 0);
  check(rename(temporary_.c_str(), path_.c_str()) == 0);
  committed_ = true;
}

void write_file(const std::string& path, const std::string& text) {
  NewFile file(path);
  file.append(text);
  file.commit();
}

}  // namespace annulus
