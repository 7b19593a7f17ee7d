#pragma once
// Which cores a rank may use, and how the ranks of a node divide them.
#include <string>
#include <vector>

namespace annulus {

/// The cores that the calling thread may run on, by the system's numbers, ascending. Where several numbers are one core
/// (hyper-threads), only the first of them: a kernel of multiply-adds fills a core alone.
std::vector<int> usable_cores();

/// What one rank gets of its node.
struct CoreShare {
  std::vector<int> cores;  // ascending
  int threads = 1;

  bool operator==(const CoreShare&) const = default;
};

/// allowed[r] are the cores that rank r of a node may use, ascending. Every core goes to one rank: those that few ranks
/// may use first, each to the rank that has fewest (of these, to the one that may use fewest). Ranks that may use the
/// same ones get neighbouring cores and equally many threads. A rank that this leaves
/// without one shares those of others. `threads` = 0: as many as a rank has cores.
std::vector<CoreShare> share_cores(const std::vector<std::vector<int>>& allowed, int threads);

/// Of all of them together.
int num_cores(const std::vector<CoreShare>& shares);
int num_threads(const std::vector<CoreShare>& shares);

/// For people: "2 ranks x 1 thread on cores 0 | 1", and what follows from more threads than cores.
std::string core_text(const std::vector<CoreShare>& shares);

}  // namespace annulus
