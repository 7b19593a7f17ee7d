#pragma once
// The one thread pool: OpenMP. How many threads a rank uses, and where, is set once (set_team).
#include <omp.h>

#include <cstdint>

#include "kernels/cpu/team.h"

namespace annulus::cpu {

/// body(item, thread) for items 0..count-1, handed out in ascending order to whichever thread is free. An item may wait
/// for a lower item: that one has been started. The body must not throw.
template <class Body>
void parallel_for(int64_t count, Body&& body) {
  if (count <= 0) return;
  if (count == 1 || omp_get_max_threads() == 1 || omp_in_parallel()) {
    for (int64_t item = 0; item < count; ++item) body(item, 0);
    return;
  }
  int64_t next = 0;
  const Team& mine = team();
#pragma omp parallel
  {
    const int thread = omp_get_thread_num();
    join(mine, thread);
    for (;;) {
      const int64_t item = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
      if (item >= count) break;
      body(item, thread);
    }
  }
}

/// body(i) for i = 0..count-1, `chunk` of them at a time, where one alone is too little work to be handed out.
template <class Body>
void parallel_for_chunks(int64_t count, int64_t chunk, Body&& body) {
  parallel_for((count + chunk - 1) / chunk, [&](int64_t item, int) {
    const int64_t end = (item + 1) * chunk < count ? (item + 1) * chunk : count;
    for (int64_t i = item * chunk; i < end; ++i) body(i);
  });
}

}  // namespace annulus::cpu
