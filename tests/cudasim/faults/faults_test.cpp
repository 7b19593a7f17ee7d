// The detectors must be trusted: each planted fault must be caught within 32 schedules, and its clean twin must be
// silent in 200. Prints a line for each fault, and how many were caught in all.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <deque>
#include <optional>

#include "tests/cudasim/faults/fault_case.h"

namespace annulus::cudasim::faults {
namespace {

constexpr uint64_t kFaultySchedules = 32, kCleanSchedules = 200;

const char* name_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::kOutOfBounds:
      return "out of bounds";
    case FaultKind::kMisaligned:
      return "misaligned";
    case FaultKind::kUninitialised:
      return "unwritten";
    case FaultKind::kRace:
      return "race";
    case FaultKind::kInFlight:
      return "in flight";
    case FaultKind::kReadOnly:
      return "constant";
    case FaultKind::kDeadlock:
      return "deadlock";
    case FaultKind::kDivergence:
      return "divergence";
    case FaultKind::kTrap:
      return "trap";
    case FaultKind::kLaunch:
      return "launch";
    case FaultKind::kEndless:
      return "endless";
    case FaultKind::kCollective:
      return "collective";
    case FaultKind::kHost:
      return "host";
  }
  return "unknown";
}

struct Outcome {
  std::optional<FaultKind> kind;  // none: fine, or a wrong result
  std::string report;             // empty: fine
};

enum class Twin { kFaulty, kFaultyForRacesAlone, kClean };

Outcome outcome_of(const FaultCase& one, Twin twin, uint64_t schedule) {
  SimulationOptions options = one.options;
  const bool faulty = twin != Twin::kClean;
  if (twin == Twin::kFaultyForRacesAlone) options.kernels.check_written = options.kernels.check_in_flight = false;
  if (faulty) {
    options.kill_rank = one.planted.kill_rank, options.kill_at_call = one.planted.kill_at_call;
    options.hang_rank = one.planted.hang_rank, options.hang_at_work = one.planted.hang_at_work;
  }
  options.devices = one.ranks;
  std::deque<Rank> ranks(static_cast<size_t>(one.ranks));
  Simulation simulation(options.schedule(schedule));
  try {
    simulation.run(one.ranks, [&](int number) {
      Rank& rank = ranks[static_cast<size_t>(number)];
      rank.number = number;
      try {
        one.body(rank, faulty);
      } catch (const std::exception&) {
        simulation.fail(std::current_exception());
      }
      rank.close();
    });
  } catch (const DeviceFault& fault) {
    return {fault.kind(), fault.what()};
  } catch (const std::exception& wrong) {
    return {std::nullopt, wrong.what()};
  }
  return {};
}

std::vector<FaultCase> all_faults() {
  std::vector<FaultCase> all;
  for (const auto& theme :
       {copy_faults, barrier_faults, lane_faults, block_faults, memory_faults, stream_faults, collective_faults})
    for (FaultCase& one : theme()) all.push_back(std::move(one));
  return all;
}

struct Total {
  int faults = 0, caught = 0, false_alarms = 0;
};
Total total;

class SeededFaults : public testing::TestWithParam<FaultCase> {};

TEST_P(SeededFaults, IsCaughtAndItsCleanTwinIsNot) {
  const FaultCase& one = GetParam();
  uint64_t caught = 0, as_race = 0;
  bool in_order = false;
  std::set<std::string> seen;
  for (uint64_t schedule = 0; schedule <= kFaultySchedules; ++schedule) {
    const Outcome outcome = outcome_of(one, Twin::kFaulty, schedule);
    if (outcome.report.empty()) continue;
    const bool expected = outcome.kind ? one.seen_as.contains(*outcome.kind) : one.wrong_result;
    const bool is_new = seen.insert(outcome.kind ? name_of(*outcome.kind) : "wrong result").second;
    EXPECT_TRUE(expected || !is_new) << "schedule " << schedule << " finds another fault: " << outcome.report;
    if (schedule == 0)
      in_order = true;
    else
      ++caught;
  }
  // What other checks see first must not hide a race that the detector would miss.
  const bool is_race = one.seen_as.contains(FaultKind::kRace);
  for (uint64_t schedule = 1; is_race && schedule <= kFaultySchedules; ++schedule)
    as_race += outcome_of(one, Twin::kFaultyForRacesAlone, schedule).kind == FaultKind::kRace ? 1 : 0;
  int false_alarms = 0;
  for (uint64_t schedule = 0; schedule < kCleanSchedules; ++schedule) {
    const Outcome outcome = outcome_of(one, Twin::kClean, schedule);
    if (outcome.report.empty()) continue;
    if (++false_alarms == 1) ADD_FAILURE() << "false alarm in schedule " << schedule << ": " << outcome.report;
  }
  EXPECT_GT(caught, 0u) << "not caught: " << one.wrong;
  if (is_race) {
    EXPECT_GT(as_race, 0u) << "not a race to the detector: " << one.wrong;
  }
  std::string kinds;
  for (const std::string& kind : seen) kinds += (kinds.empty() ? "" : ", ") + kind;
  fmt::print("{:<30} {:<24} {:2} of {}{}{}\n", one.name, kinds, caught, kFaultySchedules,
             in_order ? ", and in order" : "", is_race ? fmt::format("; as a race {}", as_race) : "");
  ++total.faults;
  total.caught += caught > 0 ? 1 : 0;
  total.false_alarms += false_alarms;
}

class Summary : public testing::Environment {
 public:
  void TearDown() override {
    fmt::print("caught {} of {}, false alarms {} of {} x {}\n", total.caught, total.faults, total.false_alarms,
               total.faults, kCleanSchedules);
    std::fflush(stdout);
  }
};
const testing::Environment* const summary = testing::AddGlobalTestEnvironment(new Summary);

std::string test_name(const testing::TestParamInfo<FaultCase>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(All, SeededFaults, testing::ValuesIn(all_faults()), test_name);

}  // namespace
}  // namespace annulus::cudasim::faults
