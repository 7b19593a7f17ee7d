#pragma once
// Names inside a run's directory.
#include <cstdint>
#include <string>

namespace annulus {

constexpr const char* kTemporaryMark =
    ".tmp-";  // between a step's name and a random number: half saved or half deleted

std::string checkpoints_directory(const std::string& run_directory);

/// "step-00000100"
std::string step_name(int64_t step);
bool is_step_name(const std::string& name);
/// Whether step name a is of a later step than b.
bool is_later(const std::string& a, const std::string& b);

/// "step-00000100.tmp-...": a name for the time in which a checkpoint is written or deleted. What has such a name
/// counts for nothing and is removed when the next save begins.
std::string temporary_name(const std::string& checkpoint);
bool is_temporary_name(const std::string& name);

}  // namespace annulus
