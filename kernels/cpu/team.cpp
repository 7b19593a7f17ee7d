#include "kernels/cpu/team.h"

#include <omp.h>

namespace annulus::cpu {
namespace {

constexpr int kNowhere = -1;

thread_local Team my_team;
thread_local int my_core = kNowhere;  // that join() has bound this thread to

bool bind(const int* cores, size_t count) {
  CoreSet set = {};
  for (size_t i = 0; i < count; ++i) CPU_SET_S(static_cast<size_t>(cores[i]), sizeof set, set.data());
  return sched_setaffinity(0, sizeof set, set.data()) == 0;  // 0: this thread
}

}  // namespace

bool set_team(int threads, const std::vector<int>& cores) {
  omp_set_num_threads(threads);
  my_team = {cores, threads > 1 && static_cast<size_t>(threads) == cores.size()};
  my_core = kNowhere;
  return cores.empty() || bind(cores.data(), cores.size());
}

const Team& team() { return my_team; }

void join(const Team& team, int thread) {
  if (thread == 0 || !team.one_each) return;  // what a thread inherits from the rank is right
  const int core = team.cores[static_cast<size_t>(thread)];
  if (my_core == core) return;
  bind(&core, 1);
  my_core = core;
}

}  // namespace annulus::cpu
