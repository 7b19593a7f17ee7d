#pragma once
// Names inside a run's directory.
#include <cstdint>
#include <string>

namespace annulus {

constexpr const char* kTemporaryMark = ".tmp-";  // between a step's name and a random number: a save that is under way

std::string checkpoints_directory(const std::string& run_directory);

/// "step-00000100"
std::string step_name(int64_t step);
bool is_step_name(const std::string& name);
/// Whether step name a is of a later step than b.
bool is_later(const std::string& a, const std::string& b);

/// "step-00000100.tmp-..."
bool is_temporary_name(const std::string& name);

}  // namespace annulus
