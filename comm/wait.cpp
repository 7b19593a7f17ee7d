#include "comm/wait.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <climits>
#include <thread>

#include "runtime/core/error.h"

namespace annulus {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kSpinSeconds = 20e-6;
constexpr long kSleepNanoseconds = 50'000'000;          // a lost wake-up costs at most this
constexpr std::chrono::microseconds kPollInterval(50);  // where nobody wakes us

std::atomic<Waiter> other_waiter{nullptr};

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

void relax() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

}  // namespace

static_assert(std::atomic<uint32_t>::is_always_lock_free && sizeof(std::atomic<uint32_t>) == 4, "futexes are 32 bits");

void Signal::wake() {
  if (sleepers_.load(std::memory_order_seq_cst) > 0)
    syscall(SYS_futex, &value_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Signal::store(uint32_t value) {
  value_.store(value, std::memory_order_seq_cst);
  wake();
}

void Signal::add(uint32_t amount) {
  value_.fetch_add(amount, std::memory_order_seq_cst);
  wake();
}

void Signal::sleep_while(uint32_t seen) {
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  const timespec limit = {0, kSleepNanoseconds};
  syscall(SYS_futex, &value_, FUTEX_WAIT, seen, &limit, nullptr, 0);  // returns at once if the value is another already
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
}

void set_waiter(Waiter waiter) { other_waiter.store(waiter); }

double detail::wait_for(bool (*done)(void*), void* context, const char* what, const int& peer, const WaitLimits& limits,
                        Signal* signal) {
  if (const Waiter waiter = other_waiter.load()) {
    if (!waiter(done, context, what, peer)) throw Cancelled();
    return 0.0;
  }
  const Clock::time_point begin = Clock::now();
  while (seconds_since(begin) < kSpinSeconds) {
    if (done(context)) return seconds_since(begin);
    relax();
  }
  for (;;) {
    const uint32_t seen = signal ? signal->load() : 0;
    if (done(context)) return seconds_since(begin);
    if (limits.cancelled && limits.cancelled->load(std::memory_order_relaxed)) throw Cancelled();
    require(ExitCode::kPeer, seconds_since(begin) < limits.timeout_seconds, "waited ", limits.timeout_seconds,
            " s for ", what, " of rank ", peer,
            ": it has failed, hangs, or is much slower than this rank; look at its ",
            "output, or raise parallel.timeout_seconds");
    if (signal)
      signal->sleep_while(seen);
    else
      std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace annulus
