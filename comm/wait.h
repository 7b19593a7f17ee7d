#pragma once
// Every wait of this folder: a test loop with a deadline and a name.
#include <atomic>
#include <cstdint>
#include <type_traits>

namespace annulus {

/// A number that one rank changes and others wait for; it may lie in memory shared between processes. Sleepers sleep in
/// a shared futex (std::atomic::wait would never wake another process).
class Signal {
 public:
  uint32_t load() const { return value_.load(std::memory_order_acquire); }
  void store(uint32_t value);
  void add(uint32_t amount);

  /// Sleeps until the number differs from `seen`, somebody changes it, or 50 ms have passed.
  void sleep_while(uint32_t seen);

 private:
  void wake();
  std::atomic<uint32_t> value_{0}, sleepers_{0};
};

/// True once `now` has reached `target`, also after the 32 bits have wrapped.
inline bool reached(uint32_t now, uint32_t target) { return static_cast<int32_t>(now - target) >= 0; }

struct WaitLimits {
  double timeout_seconds = 600.0;
  const std::atomic<bool>* cancelled = nullptr;  // set when another rank of this process failed: waits end at once
};

/// Thrown out of a wait whose rank is no longer wanted because another rank of this process failed first.
struct Cancelled {};

/// What waits instead of the clock where ranks are threads that run one at a time, as beside simulated GPUs: returns
/// once done(context) is true, or false when that will never be. Null: nothing does. Set while no rank waits.
using Waiter = bool (*)(bool (*done)(void*), void* context, const char* what, const int& peer);
void set_waiter(Waiter waiter);

/// Returns once done() is true. Tests, spins at most 20 us, then sleeps between tests: in `signal` where one is given.
/// Returns the seconds waited. Throws UserError (75) naming `what` and `peer` after the time limit; done() may change
/// `peer` to whom it still misses.
template <class Done>
double wait_for(Done&& done, const char* what, const int& peer, const WaitLimits& limits, Signal* signal = nullptr);

namespace detail {
double wait_for(bool (*done)(void*), void* context, const char* what, const int& peer, const WaitLimits& limits,
                Signal* signal);
}

template <class Done>
double wait_for(Done&& done, const char* what, const int& peer, const WaitLimits& limits, Signal* signal) {
  if (done()) return 0.0;
  using Bare = std::remove_reference_t<Done>;
  return detail::wait_for([](void* context) -> bool { return (*static_cast<Bare*>(context))(); }, &done, what, peer,
                          limits, signal);
}

}  // namespace annulus
