#include "runtime/cores.h"

#include <fmt/format.h>
#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "kernels/cpu/team.h"

namespace annulus {
namespace {

using Cores = std::vector<int>;

// The lowest number of the core that `cpu` is a hyper-thread of; itself where the system does not say.
int core_of(int cpu) {
  std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
  int lowest = cpu;
  file >> lowest;  // "0,8" or "0-1"
  return file ? lowest : cpu;
}

// Every core to one rank, as evenly as the ranks' wishes let it.
std::vector<Cores> deal(const std::vector<Cores>& allowed) {
  std::map<int, std::vector<size_t>> wanted_by;
  for (size_t rank = 0; rank < allowed.size(); ++rank)
    for (const int core : allowed[rank]) wanted_by[core].push_back(rank);
  Cores order;
  for (const auto& [core, ranks] : wanted_by) order.push_back(core);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return wanted_by[a].size() < wanted_by[b].size(); });
  std::vector<Cores> dealt(allowed.size());
  for (const int core : order) {
    const std::vector<size_t>& ranks = wanted_by[core];
    const size_t poorest = *std::min_element(ranks.begin(), ranks.end(), [&](size_t a, size_t b) {
      return std::pair(dealt[a].size(), allowed[a].size()) < std::pair(dealt[b].size(), allowed[b].size());
    });
    dealt[poorest].push_back(core);
  }
  return dealt;
}

// What the ranks with the same wishes have been dealt together, in neighbouring parts; the same core for several ranks
// where there are more ranks than cores.
void share_among_alike(const Cores& allowed, const std::vector<size_t>& ranks, std::vector<CoreShare>& shares) {
  Cores together;
  for (const size_t rank : ranks) together.insert(together.end(), shares[rank].cores.begin(), shares[rank].cores.end());
  std::sort(together.begin(), together.end());
  if (together.empty()) {  // other ranks need every core that these may use
    for (const size_t rank : ranks) shares[rank].cores = allowed;
    return;
  }
  const size_t count = together.size(), sharers = ranks.size();
  for (size_t i = 0; i < sharers; ++i) {
    const size_t begin = i * count / sharers, end = std::max(begin + 1, (i + 1) * count / sharers);
    CoreShare& share = shares[ranks[i]];
    share.cores.clear();
    for (size_t at = begin; at < std::min(end, count); ++at) share.cores.push_back(together[at]);
    share.threads = static_cast<int>(std::max<size_t>(1, count / sharers));
  }
}

}  // namespace

Cores usable_cores() {
  cpu::CoreSet mine = {};
  sched_getaffinity(0, sizeof mine, mine.data());
  Cores cores;
  std::set<int> taken;
  for (int cpu = 0; cpu < cpu::kMostCores; ++cpu)
    if (CPU_ISSET_S(static_cast<size_t>(cpu), sizeof mine, mine.data()) && taken.insert(core_of(cpu)).second)
      cores.push_back(cpu);
  return cores;
}

std::vector<CoreShare> share_cores(const std::vector<Cores>& allowed, int threads) {
  std::vector<CoreShare> shares;
  for (Cores& cores : deal(allowed)) shares.push_back({std::move(cores), 1});
  std::map<Cores, std::vector<size_t>> alike;
  for (size_t rank = 0; rank < allowed.size(); ++rank) alike[allowed[rank]].push_back(rank);
  for (const auto& [cores, ranks] : alike) share_among_alike(cores, ranks, shares);
  if (threads > 0)
    for (CoreShare& share : shares) share.threads = threads;
  return shares;
}

int num_cores(const std::vector<CoreShare>& shares) {
  std::set<int> cores;
  for (const CoreShare& share : shares) cores.insert(share.cores.begin(), share.cores.end());
  return static_cast<int>(cores.size());
}

int num_threads(const std::vector<CoreShare>& shares) {
  int threads = 0;
  for (const CoreShare& share : shares) threads += share.threads;
  return threads;
}

namespace {

// "0-3", "0,2", "5"
std::string range_text(const Cores& cores) {
  std::string text;
  for (size_t first = 0; first < cores.size();) {
    size_t last = first;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", cores[first]);
    if (last > first) text += fmt::format("-{}", cores[last]);
    first = last + 1;
  }
  return text;
}

std::string counted(int64_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

}  // namespace

std::string core_text(const std::vector<CoreShare>& shares) {
  constexpr size_t kMost = 16;  // ranks whose cores are shown
  std::string where;
  int least = shares.front().threads, most = least;
  for (size_t rank = 0; rank < shares.size(); ++rank) {
    if (rank < kMost) where += (rank > 0 ? " | " : "") + range_text(shares[rank].cores);
    least = std::min(least, shares[rank].threads);
    most = std::max(most, shares[rank].threads);
  }
  if (shares.size() > kMost) where += " | ...";
  const std::string threads = least == most ? counted(least, "thread") : fmt::format("{}-{} threads", least, most);
  std::string text = fmt::format("{} x {} on core{} {}", counted(static_cast<int64_t>(shares.size()), "rank"), threads,
                                 num_cores(shares) == 1 ? "" : "s", where);
  if (num_threads(shares) > num_cores(shares))
    text += fmt::format(": {} threads take turns on {}", num_threads(shares), counted(num_cores(shares), "core"));
  return text;
}

}  // namespace annulus
