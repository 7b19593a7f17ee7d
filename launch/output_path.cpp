#include "launch/output_path.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "runtime/core/error.h"

namespace annulus {

namespace fs = std::filesystem;

void require_output_path(const std::string& path, const std::string& what) {
  require(ExitCode::kStorage, !path.empty(), what, " is empty; name the file to write");
  std::error_code ignored;
  const fs::file_status there = fs::status(path, ignored);
  require(ExitCode::kStorage, !fs::exists(there) || fs::is_regular_file(there), what, ": '", path, "' is ",
          fs::is_directory(there) ? "a directory" : "a device or pipe", "; give the path of a file in a directory");
  const fs::path parent = fs::path(path).parent_path();
  const std::string directory = parent.empty() ? "." : parent.string();
  require(ExitCode::kStorage, access(directory.c_str(), W_OK | X_OK) == 0, what, ": cannot write '", path,
          "': ", std::strerror(errno), "; check the directory and its permissions");
}

}  // namespace annulus
