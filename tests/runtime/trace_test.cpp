// What a recorded step says must be what the step did: the visits of the schedule, once each, and every wait.
#include <filesystem>
#include <map>

#include "comm/clock.h"
#include "kernels/attention.h"
#include "runtime/report/ring_summary.h"
#include "runtime/trace_file.h"
#include "tests/support/tiny_training.h"

namespace annulus::test {
namespace {

constexpr double kHalfNanosecond = 0.5e-3;  // in microseconds: what a written time is rounded by

std::string trace_path() { return testing::TempDir() + "annulus_trace_" + std::to_string(getpid()) + ".json"; }

struct Recorded {
  Trace trace;
  std::vector<double> wait_seconds;  // of each rank, as its transport counts them
  std::vector<StepStats> stats;
};

Recorded record_step(const Config& config) {
  Recorded recorded;
  const auto ranks = static_cast<size_t>(config.parallel.dp * config.parallel.cp);
  recorded.wait_seconds.resize(ranks);
  recorded.stats.resize(ranks);
  with_trainers(config, [&](Trainer& trainer, Group& world) {
    trainer.step();
    const double waited = trainer.transport().counters().wait_seconds;
    trainer.begin_recording();
    const auto rank = static_cast<size_t>(world.rank());
    recorded.stats[rank] = trainer.step();
    recorded.wait_seconds[rank] = trainer.transport().counters().wait_seconds - waited;
    const std::unique_ptr<const Timeline> timeline = trainer.end_recording();
    EXPECT_EQ(timeline->num_dropped(), 0);
    const TraceFacts facts = {.run = "a \"run\" <&>",
                              .step = trainer.state().step,
                              .dims = {static_cast<int>(config.parallel.dp), static_cast<int>(config.parallel.cp)},
                              .placement = config.parallel.placement,
                              .transport = trainer.transport().name()};
    EXPECT_EQ(write_trace(trace_path(), facts, *timeline, world), "");
  });
  recorded.trace = read_trace(trace_path());
  std::filesystem::remove(trace_path());
  return recorded;
}

const std::vector<RankLayout> kLayouts = {{1, 1, "zigzag"}, {1, 2, "contiguous"}, {1, 3, "zigzag"}, {2, 2, "striped"}};

void expect_nested(const Trace& trace, const std::string& what) {
  std::vector<const TraceSpan*> open;
  for (const TraceSpan& span : trace.spans) {
    while (!open.empty() && (open.back()->rank != span.rank || open.back()->end <= span.begin)) open.pop_back();
    if (open.empty()) {
      EXPECT_EQ(span.activity, Activity::kStep) << what << ": outside of the step lies " << name_of(span.activity);
    } else {
      EXPECT_LE(span.end, open.back()->end + 2 * kHalfNanosecond)
          << what << ": " << name_of(span.activity) << " ends behind " << name_of(open.back()->activity);
    }
    open.push_back(&span);
  }
}

TEST(Trace, SpansLieInsideEachOtherOrApart) {
  for (const RankLayout& layout : kLayouts) {
    const Trace trace = record_step(tiny_config(layout)).trace;
    expect_nested(trace, layout.name());
    EXPECT_EQ(trace.facts.run, "a \"run\" <&>");
    EXPECT_EQ(trace.facts.step, 2);
    EXPECT_EQ(trace.clock_error_us, 0.0) << "threads have one clock";
    double begin = 1.0;
    for (const TraceSpan& span : trace.spans) begin = std::min(begin, span.begin);
    EXPECT_EQ(begin, 0.0);
  }
}

TEST(Trace, WaitsAreThoseThatTheStepCounts) {
  for (const RankLayout& layout : kLayouts) {
    const Recorded recorded = record_step(tiny_config(layout));
    const std::vector<RankTime> times = rank_times(recorded.trace);
    double fraction = 0.0;
    for (size_t rank = 0; rank < times.size(); ++rank) {
      int64_t waits = 0;
      for (const TraceSpan& span : recorded.trace.spans) {
        if (span.activity != Activity::kWait || span.rank != static_cast<int>(rank)) continue;
        ++waits;
        EXPECT_GE(span.peer, 0);
        EXPECT_EQ(span.peer / layout.cp, span.rank / layout.cp) << "a ring waits for its own";
        EXPECT_GE(span.layer, 0);
      }
      const double limit = 1e-9 * static_cast<double>(waits + 1);  // each rounded to a nanosecond
      EXPECT_NEAR(times[rank].wait, recorded.wait_seconds[rank], limit) << layout.name() << " rank " << rank;
      EXPECT_NEAR(times[rank].step, recorded.stats[rank].seconds, 1e-9) << layout.name() << " rank " << rank;
      fraction += times[rank].wait / times[rank].step / static_cast<double>(times.size());
    }
    EXPECT_NEAR(fraction, recorded.stats[0].wait_fraction, 1e-6) << layout.name();
  }
}

// (micro-batch, layer, backward, visit) -> block and pairs, of one rank.
using Visits = std::map<std::array<int, 4>, std::pair<int, int64_t>>;

Visits visits_of(const Trace& trace, int rank) {
  Visits visits;
  for (const TraceSpan& span : trace.spans) {
    if (span.activity != Activity::kVisit || span.rank != rank) continue;
    const auto [at, is_new] =
        visits.insert({{span.micro_batch, span.layer, span.backward ? 1 : 0, span.visit}, {span.block, span.pairs}});
    EXPECT_TRUE(is_new) << "rank " << rank << " made a visit twice";
  }
  return visits;
}

Visits scheduled(const Config& config, int rank, int micro_batches) {
  const int cp = static_cast<int>(config.parallel.cp);
  const int64_t S = config.data.sequence_length;
  const Placement placement = make_placement(config.parallel.placement, S, cp);
  const Schedule schedule =
      make_flat_ring(placement, placement, causal_mask(S, S), {1, 4, 2, 8, 8}, rank % cp, attention_query_block());
  Visits visits;
  for (int batch = 0; batch < micro_batches; ++batch)
    for (int layer = 0; layer < config.model.layers; ++layer)
      for (const PassPlan* pass : {&schedule.forward, &schedule.backward})
        for (size_t t = 0; t < pass->visits.size(); ++t) {
          const int block = pass->visits[t].block;
          visits[{batch, layer, pass->backward ? 1 : 0, static_cast<int>(t)}] = {
              rank / cp * cp + block, schedule.tiles[static_cast<size_t>(block)].pairs};
        }
  return visits;
}

TEST(Trace, EveryVisitOfTheScheduleIsThereOnce) {
  for (const RankLayout& layout : kLayouts)
    for (const std::string recompute : {"none", "block"}) {
      Config config = tiny_config(layout);
      config.train.recompute = recompute;
      const Trace trace = record_step(config).trace;
      for (int rank = 0; rank < layout.dp * layout.cp; ++rank) {
        // 3 sequences, 2 at a time: of two rings the first has one, the second two.
        const int micro_batches = layout.dp == 1 ? 2 : 1;
        EXPECT_EQ(visits_of(trace, rank), scheduled(config, rank, micro_batches)) << layout.name() << " rank " << rank;
      }
    }
}

TEST(Trace, WithoutRoomTheRestIsCounted) {
  Timeline timeline(3);
  {
    const Mark step(&timeline, Activity::kStep);
    for (int layer = 0; layer < 4; ++layer) {
      const Mark mark(&timeline, {.activity = Activity::kLayer, .layer = layer});
      timeline.add({.activity = Activity::kWait, .peer = 1}, 0.0);
    }
  }
  EXPECT_EQ(timeline.num_dropped(), 6);
  ASSERT_EQ(timeline.spans().size(), 3u);
  EXPECT_EQ(timeline.spans()[2].layer, 0) << "a span has the layer that it lies in";
  EXPECT_EQ(timeline.spans()[0].layer, -1);
  EXPECT_GE(timeline.spans()[0].end, timeline.spans()[2].end);
}

TEST(Clock, IsThatOfRank0AsFarAsMessagesTell) {
  constexpr int64_t kSecond = 1'000'000'000;
  run_ranks(3, [&](Group& world) {
    const ClockOffset same = clock_offset(world);
    EXPECT_EQ(same.nanoseconds, 0);
    const ClockOffset other = clock_offset(world, [&] { return Timeline::now() - world.rank() * kSecond; });
    EXPECT_NEAR(static_cast<double>(other.nanoseconds), static_cast<double>(world.rank() * kSecond),
                static_cast<double>(other.error));
    EXPECT_EQ(other.error == 0, world.rank() == 0);
  });
}

}  // namespace
}  // namespace annulus::test
