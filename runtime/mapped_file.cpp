#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/core/error.h"

namespace annulus {

MappedFile::MappedFile(const std::string& path, const std::string& key) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe, too, is opened at once
  require(ExitCode::kData, file >= 0, key, ": cannot open '", path, "': ", std::strerror(errno),
          "; give a file that every node can read");
  struct stat status = {};
  const bool regular = fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  size_ = regular ? static_cast<size_t>(status.st_size) : 0;
  void* memory = size_ > 0 ? mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0) : nullptr;
  const int error = errno;
  close(file);
  require(ExitCode::kData, regular, key, ": '", path, "' is not a file; give a text or token file");
  require(ExitCode::kData, memory != MAP_FAILED, key, ": cannot map '", path, "': ", std::strerror(error));
  data_ = static_cast<const std::byte*>(memory);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace annulus
