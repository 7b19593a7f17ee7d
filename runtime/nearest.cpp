#include "runtime/nearest.h"

#include <algorithm>

namespace annulus {
namespace {

constexpr size_t kShortestBeginning = 3;  // "war" may mean "warmup_steps"; "w" means too much

}  // namespace

// Optimal string alignment, row by row: two rows back is what a swap of neighbours needs.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before_last.swap(last);
    last.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view name, const std::vector<std::string>& names) {
  std::string best;
  size_t least = std::string_view::npos;
  for (const std::string& candidate : names) {
    const size_t longer = std::max(name.size(), candidate.size()), shorter = std::min(name.size(), candidate.size());
    const size_t limit = std::max<size_t>(1, longer / 3);
    const bool begins = name.size() >= kShortestBeginning && candidate.starts_with(name);
    if (!begins && longer - shorter > limit) continue;  // also spares the time for absurdly long names
    const size_t distance = begins ? std::min<size_t>(1, longer - shorter) : edit_distance(name, candidate);
    if (distance <= limit && distance < least) best = candidate, least = distance;
  }
  return best;
}

}  // namespace annulus
