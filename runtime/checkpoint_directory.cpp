#include "runtime/checkpoint_directory.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "runtime/checkpoint.h"
#include "runtime/checkpoint_manifest.h"
#include "runtime/core/error.h"

namespace annulus {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr size_t kLeastDigits = 8;

// The number in a step's name without its leading zeros, which may be larger than any integer type.
std::string significant_digits(const std::string& name) {
  return name.substr(std::min(name.find_first_not_of('0', kPrefix.size()), name.size()));
}

}  // namespace

std::string checkpoints_directory(const std::string& run_directory) { return run_directory + "/checkpoints"; }

std::string step_name(int64_t step) { return fmt::format("{}{:0{}}", kPrefix, step, kLeastDigits); }

bool is_step_name(const std::string& name) {
  return name.size() >= kPrefix.size() + kLeastDigits && name.starts_with(kPrefix) &&
         std::all_of(name.begin() + kPrefix.size(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_later(const std::string& a, const std::string& b) {
  const std::string x = significant_digits(a), y = significant_digits(b);
  return x.size() != y.size() ? x.size() > y.size() : x > y;
}

std::string temporary_name(const std::string& checkpoint) {
  uint64_t number = 0;
  require(ExitCode::kOther, getrandom(&number, sizeof number, 0) == sizeof number,
          "the system gives no random numbers");
  return fmt::format("{}{}{:016x}", checkpoint, kTemporaryMark, number);
}

bool is_temporary_name(const std::string& name) {
  const size_t mark = name.find(kTemporaryMark);
  return mark != std::string::npos && is_step_name(name.substr(0, mark));
}

std::vector<std::string> list_checkpoints(const std::string& run_directory) {
  namespace fs = std::filesystem;
  const std::string directory = checkpoints_directory(run_directory);
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator entry(directory, error);
  if (error == std::errc::no_such_file_or_directory) return {};
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code none;
    if (is_step_name(name) && fs::exists(fs::symlink_status(entry->path() / kManifestName, none)))
      names.push_back(name);
  }
  require(ExitCode::kCheckpoint, !error, "cannot list '", directory, "': ", error.message(), "; check its permissions");
  std::sort(names.begin(), names.end(), is_later);
  for (std::string& name : names) name = directory + "/" + name;
  return names;
}

std::string find_checkpoint(const std::string& path) {
  std::error_code none;
  if (std::filesystem::exists(path + "/" + kManifestName, none)) return path;
  const std::vector<std::string> found =
      std::filesystem::is_directory(path, none) ? list_checkpoints(path) : std::vector<std::string>{};
  require(ExitCode::kCheckpoint, !found.empty(), "'", path,
          "' is neither a checkpoint nor a run directory with one; give ",
          "runs/NAME or runs/NAME/checkpoints/step-NNNNNNNN");
  return found.front();
}

}  // namespace annulus
