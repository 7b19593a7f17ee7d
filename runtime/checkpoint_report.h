#pragma once
// Work that each rank does alone and that may fail on one of them: all ranks hear how it went before any goes on, so
// that none waits for one that gave up.
#include <exception>
#include <string>
#include <vector>

#include "comm/group.h"

namespace annulus {

/// How some work went: words for the other ranks, or the problem that ended it.
struct Report {
  bool ok = true;
  std::string text;
};

/// The text that `work` returns, or the words of what it threw.
template <class Work>
Report report_of(Work&& work) {
  try {
    return {true, work()};
  } catch (const std::exception& error) {
    return {false, error.what()};
  }
}

namespace detail {

inline std::string to_message(const Report& report) { return (report.ok ? '+' : '-') + report.text; }
inline Report from_message(const std::string& message) { return {message.at(0) == '+', message.substr(1)}; }

}  // namespace detail

/// Collective. Every rank does `work`, which returns a text. If it succeeded everywhere, rank 0 does `finish` on all
/// these texts, and what that returns is returned on every rank; else the problem of the lowest rank that had one is.
template <class Work, class Finish>
Report report_together(Group& world, const char* what, Work&& work, Finish&& finish) {
  const std::vector<std::string> messages = world.gather(detail::to_message(report_of(work)), 0, what);
  Report outcome;
  if (world.rank() == 0) {
    std::vector<std::string> texts;
    for (const std::string& message : messages) {
      const Report report = detail::from_message(message);
      if (!report.ok && outcome.ok) outcome = report;
      texts.push_back(report.text);
    }
    if (outcome.ok) outcome = report_of([&] { return finish(texts); });
  }
  return detail::from_message(world.broadcast(detail::to_message(outcome), 0, what));
}

}  // namespace annulus
