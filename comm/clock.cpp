#include "comm/clock.h"

#include <cstdlib>
#include <limits>

namespace annulus {
namespace {

constexpr int kQuestions = 8;
constexpr const char* kWhat = "the comparing of clocks";

void answer(Group& group, int peer, const Clock& clock) {
  int64_t time = 0;
  const Group::Incoming question = {peer, &time, sizeof time};
  group.exchange({}, {&question, 1}, kWhat);
  time = clock();
  const Group::Outgoing reply = {peer, &time, sizeof time};
  group.exchange({&reply, 1}, {}, kWhat);
}

ClockOffset ask(Group& group, const Clock& clock) {
  int64_t theirs = 0;
  const int64_t asked = clock();
  const Group::Outgoing question = {0, &asked, sizeof asked};
  group.exchange({&question, 1}, {}, kWhat);
  const Group::Incoming reply = {0, &theirs, sizeof theirs};
  group.exchange({}, {&reply, 1}, kWhat);
  const int64_t half = (clock() - asked) / 2 + 1;
  return {theirs - (asked + half), half};
}

}  // namespace

ClockOffset clock_offset(Group& group, const Clock& clock) {
  ClockOffset best = {0, group.rank() == 0 ? 0 : std::numeric_limits<int64_t>::max()};
  for (int peer = 1; peer < group.size() && group.rank() == 0; ++peer)
    for (int question = 0; question < kQuestions; ++question) answer(group, peer, clock);
  for (int question = 0; question < kQuestions && group.rank() != 0; ++question) {
    const ClockOffset now = ask(group, clock);
    if (now.error < best.error) best = now;
  }
  if (std::abs(best.nanoseconds) <= best.error) best.nanoseconds = 0;
  return best;
}

}  // namespace annulus
