#pragma once
// The threads of one rank's kernels and the cores they run on. OpenMP reads what it is told about cores when the
// process starts, where no rank knows its share yet; so the threads are bound here, each when it first has something to
// do.
#include <sched.h>

#include <array>
#include <vector>

namespace annulus::cpu {

/// For sched_getaffinity() and its kin, of machines with more cores than one cpu_set_t has bits.
using CoreSet = std::array<cpu_set_t, 16>;
constexpr int kMostCores = 16 * CPU_SETSIZE;

/// What the calling thread, a rank, has said of its team.
struct Team {
  std::vector<int> cores;  // empty: none was said, its threads run anywhere
  bool one_each = false;   // thread i on cores[i]; otherwise all of them on all of these
};

/// From here on the parallel work of the calling thread is done by `threads` threads on these cores (numbers of the
/// system; empty: anywhere): one on each where there are as many, and otherwise somewhere among them. The caller itself
/// may use all of them, since threads that others start for it inherit that; it finds the first one free. Returns false
/// where the system does not let it choose.
bool set_team(int threads, const std::vector<int>& cores);

/// Of the calling thread.
const Team& team();

/// Called by thread number `thread` of a team before it works: binds it where it is new, which costs nothing later.
void join(const Team& team, int thread);

}  // namespace annulus::cpu
