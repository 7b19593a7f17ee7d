#pragma once
// Ranks for tests: threads of this process, one kernel thread each.
#include <functional>

#include "comm/thread_group.h"
#include "kernels/cpu/isa.h"

namespace annulus::test {

constexpr double kTestTimeoutSeconds = 60.0;  // far above any wait of a test: only a hang reaches it

inline void run_ranks(int size, const std::function<void(Group&)>& body) {
  run_as_threads(size, [&](Group& group) {
    cpu::set_num_threads(1);
    group.set_timeout(kTestTimeoutSeconds);
    body(group);
  });
}

}  // namespace annulus::test
