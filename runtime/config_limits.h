#pragma once
// Bounds of config keys that both their table and the checks between keys use.
#include <cstdint>

namespace annulus::config_limits {

constexpr double kMostSteps = 1e9;
constexpr double kMostRanks = 65536;
constexpr double kMostTokenId = 2147483647.0;  // token ids are 32 bits wide in memory
constexpr int64_t kMostHeadDim = 256;

}  // namespace annulus::config_limits
