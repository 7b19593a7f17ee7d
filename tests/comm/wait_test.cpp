// Waits: at once, woken by another thread or process, ended by the deadline or by a failure elsewhere.
#include "comm/wait.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <string>
#include <thread>

#include "runtime/core/error.h"

namespace annulus::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr WaitLimits kLimits = {.timeout_seconds = 60.0};  // far above any wait of these tests: only a hang reaches it

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

TEST(Wait, ReturnsAtOnceWhatIsTrueAlready) {
  int tests = 0;
  auto done = [&] { return ++tests == 1; };
  EXPECT_EQ(wait_for(done, "nothing", 0, kLimits), 0.0);
  EXPECT_EQ(tests, 1);
  // Neither the time limit nor a failure elsewhere matters where there is nothing to wait for.
  const std::atomic<bool> cancelled{true};
  const WaitLimits over = {.timeout_seconds = 0.0, .cancelled = &cancelled};
  EXPECT_EQ(wait_for([] { return true; }, "nothing", 0, over), 0.0);
}

TEST(Wait, TestsAgainUntilItIsTrueAndSaysHowLongThatTook) {
  const auto begin = steady_clock::now();
  auto done = [&] { return seconds_since(begin) >= 0.02; };
  const double waited = wait_for(done, "the clock", 0, kLimits);
  EXPECT_GE(waited, 0.019);
  EXPECT_LE(waited, seconds_since(begin));
}

// A sleeper that nobody wakes looks again after 50 ms. A chain of hand-overs is much faster than that only if each one
// really wakes the other side.
constexpr uint32_t kRounds = 40;
constexpr double kAsleepSeconds = kRounds * 0.050;

void hand_back_and_forth(Signal& mine, Signal& others, bool begin) {
  for (uint32_t round = 1; round <= kRounds; ++round) {
    if (begin) mine.store(round);
    wait_for([&] { return reached(others.load(), round); }, "the other side", 1, kLimits, &others);
    std::this_thread::sleep_for(milliseconds(1));  // the other side has gone to sleep by now
    if (!begin) mine.store(round);
  }
}

TEST(Wait, ASignalWakesASleepingThread) {
  Signal here, there;
  const auto begin = steady_clock::now();
  std::thread other([&] { hand_back_and_forth(there, here, false); });
  hand_back_and_forth(here, there, true);
  other.join();
  EXPECT_LT(seconds_since(begin), kAsleepSeconds / 2);
}

TEST(Wait, ASignalWakesASleepingProcess) {
  void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* signals = new (memory) Signal[2];
  const auto begin = steady_clock::now();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int status = 1;
    try {
      hand_back_and_forth(signals[1], signals[0], false);
      status = 0;
    } catch (...) {  // the status says so
    }
    _exit(status);
  }
  EXPECT_NO_THROW(hand_back_and_forth(signals[0], signals[1], true));
  EXPECT_LT(seconds_since(begin), kAsleepSeconds / 2);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  munmap(memory, 4096);
}

TEST(Wait, SleepWhileReturnsAtOnceIfTheNumberIsAnother) {
  Signal signal;
  signal.store(5);
  signal.add(2);
  EXPECT_EQ(signal.load(), 7u);
  double shortest = 1.0;  // of several: the machine may have other work
  for (int i = 0; i < 5; ++i) {
    const auto begin = steady_clock::now();
    signal.sleep_while(6);
    shortest = std::min(shortest, seconds_since(begin));
  }
  EXPECT_LT(shortest, 0.04);
}

TEST(Wait, TheDeadlineIsAnErrorThatNamesWhatAndWhom) {
  for (const bool with_signal : {false, true}) {
    Signal signal;
    const auto begin = steady_clock::now();
    try {
      const WaitLimits limits = {.timeout_seconds = 0.05};
      wait_for([] { return false; }, "the keys and values", 7, limits, with_signal ? &signal : nullptr);
      ADD_FAILURE() << "no deadline";
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kPeer);
      for (const std::string part : {"the keys and values", "rank 7", "0.05 s", "timeout_seconds"})
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
    EXPECT_GE(seconds_since(begin), 0.05);
    EXPECT_LT(seconds_since(begin), 5.0);
  }
}

TEST(Wait, EndsAtOnceWhenARankOfThisProcessHasFailed) {
  for (const bool with_signal : {false, true}) {
    Signal signal;
    std::atomic<bool> cancelled{false};
    const WaitLimits limits = {.timeout_seconds = 60.0, .cancelled = &cancelled};
    std::thread failing([&] {
      std::this_thread::sleep_for(milliseconds(10));
      cancelled = true;
    });
    const auto begin = steady_clock::now();
    EXPECT_THROW(wait_for([] { return false; }, "nothing", 0, limits, with_signal ? &signal : nullptr), Cancelled);
    EXPECT_LT(seconds_since(begin), 5.0);
    failing.join();
  }
}

TEST(Wait, ReachedHoldsAlsoAfterTheCounterHasWrapped) {
  EXPECT_TRUE(reached(5, 5));
  EXPECT_TRUE(reached(6, 5));
  EXPECT_FALSE(reached(4, 5));
  EXPECT_TRUE(reached(2, 0xfffffffeu));
  EXPECT_FALSE(reached(0xfffffffeu, 2));
  EXPECT_TRUE(reached(0x80000001u, 0x7fffffffu));
}

}  // namespace
}  // namespace annulus::test
