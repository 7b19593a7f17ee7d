// The parts of the report: ticks, bins, text that means itself, and metrics that are not as they should be.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "runtime/core/error.h"
#include "runtime/report/axis.h"
#include "runtime/report/line_chart.h"
#include "runtime/report/markup.h"
#include "runtime/report/ring_chart.h"
#include "runtime/report/run_record.h"

namespace annulus::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::string labels(const std::vector<Tick>& ticks) {
  std::string text;
  for (const Tick& tick : ticks) text += (text.empty() ? "" : " ") + tick.label;
  return text;
}

TEST(Axis, TicksAreRoundNumbersInsideTheRange) {
  EXPECT_EQ(labels(linear_ticks(0, 100, 6)), "0 20 40 60 80 100");
  EXPECT_EQ(labels(linear_ticks(0.93, 5.7, 6)), "1 2 3 4 5");
  EXPECT_EQ(labels(linear_ticks(0, 1e-3, 6)), "0 0.0002 0.0004 0.0006 0.0008 0.0010");
  EXPECT_EQ(labels(linear_ticks(1, 1e6, 6)), "0.2M 0.4M 0.6M 0.8M 1.0M");
  EXPECT_EQ(labels(linear_ticks(0, 21000, 6)), "0 5k 10k 15k 20k");
  EXPECT_EQ(labels(linear_ticks(1, 2, 2)), "1 2");
  EXPECT_EQ(labels(linear_ticks(-2.5, 2.5, 6)), "-2 -1 0 1 2");
  EXPECT_EQ(labels(linear_ticks(0, 3e-7, 4)), "0 1e-07 2e-07 3e-07");
  EXPECT_EQ(labels(log_ticks(0.4, 12, 6)), "0.5 1 2 5 10");
  EXPECT_EQ(labels(log_ticks(1e-5, 1e5, 6)), "1e-05 0.001 0.1 10 1000 100k");
  for (const double low : {1e-9, 0.3, 7.0, 123456.0})
    for (const double size : {1.001, 1.7, 30.0, 1e7})
      for (const auto& ticks : {linear_ticks(low, low * size, 6), log_ticks(low, low * size, 6)}) {
        EXPECT_GE(ticks.size(), 1u) << low << " " << size;
        EXPECT_LE(ticks.size(), 6u) << low << " " << size;
        for (const Tick& tick : ticks) {
          EXPECT_GE(tick.value, low * (1 - 1e-6));
          EXPECT_LE(tick.value, low * size * (1 + 1e-6));
        }
      }
}

TEST(Axis, PlacesAreStraightOrLogarithmic) {
  const Axis straight = {.low = 2, .high = 4, .from = 100, .to = 0};
  EXPECT_EQ(straight.place_of(2), 100);
  EXPECT_EQ(straight.place_of(3), 50);
  EXPECT_EQ(straight.place_of(9), 0) << "never beside the picture";
  const Axis logarithmic = {.low = 1, .high = 100, .logarithmic = true, .from = 0, .to = 10};
  EXPECT_NEAR(logarithmic.place_of(10), 5, 1e-12);
  EXPECT_EQ(logarithmic.place_of(1e-9), 0);
}

TEST(BinnedSeries, KeepsEveryStepUntilThereAreTooMany) {
  BinnedSeries series(8);
  for (int step = 1; step <= 8; ++step) series.add(step, step);
  EXPECT_EQ(series.steps_per_bin(), 1);
  EXPECT_EQ(series.bins().size(), 8u);
  series.add(9, 9);
  EXPECT_EQ(series.steps_per_bin(), 2);
  ASSERT_EQ(series.bins().size(), 5u);
  EXPECT_EQ(series.bins()[0].mean(), 1.5);
  EXPECT_EQ(series.bins()[0].middle(), 1.5);
  EXPECT_EQ(series.bins()[4].mean(), 9);
}

TEST(BinnedSeries, BoundsLeastMeanAndLargestOfAnyNumberOfSteps) {
  BinnedSeries series(1000);
  double sum = 0.0;
  constexpr int64_t kSteps = 1'000'003;
  for (int64_t step = 1; step <= kSteps; ++step) {
    const double value = step == 500'000 ? 1e6 : step == 500'001 ? kNaN : std::sin(static_cast<double>(step));
    series.add(step, value);
    if (std::isfinite(value)) sum += value;
  }
  EXPECT_LE(series.bins().size(), 1000u);
  EXPECT_GE(series.bins().size(), 500u);
  int64_t count = 0, last = 0;
  double all = 0.0, largest = 0.0;
  for (const Bin& bin : series.bins()) {
    EXPECT_GT(bin.first, last);
    EXPECT_LE(bin.least, bin.mean());
    EXPECT_LE(bin.mean(), bin.largest);
    EXPECT_LE(bin.last - bin.first, series.steps_per_bin());
    last = bin.last;
    count += bin.count;
    all += bin.sum;
    largest = std::max(largest, bin.largest);
  }
  EXPECT_EQ(count, kSteps - 1) << "all but the one that is not finite";
  EXPECT_NEAR(all, sum, 1e-6);
  EXPECT_EQ(largest, 1e6) << "a single outlier is never averaged away";
}

TEST(Markup, TextMeansItself) {
  EXPECT_EQ(escaped("</title><script>alert('x' & \"y\")"),
            "&lt;/title&gt;&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)");
  EXPECT_EQ(escaped("a\x01\x1b[31m\x7f"), "a  [31m ");
  EXPECT_NE(svg_text(1, 2, "end", "<b>").find("&lt;b&gt;"), std::string::npos);
  EXPECT_NE(svg_rect(1, 2, 3, 4, "x", "\"<").find("<title>&quot;&lt;</title>"), std::string::npos);
  EXPECT_EQ(coordinate(-0.01), "0");
  EXPECT_EQ(coordinate(12.345), "12.3");
}

TEST(LineChart, LeavesOutWhatIsNotFinite) {
  const Line line = {"", "s1", {{1, 2, 2, 2}, {2, 3, 3, 3}, {3, kNaN, kNaN, kNaN}, {4, 1, 1, 1}}};
  const std::string svg = line_chart({"Loss <1>", "step", "nats", {line}, Scale::kLinear});
  EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
  EXPECT_EQ(svg.find("inf"), std::string::npos) << svg;
  EXPECT_NE(svg.find("Loss &lt;1&gt;"), std::string::npos);
  EXPECT_NE(svg.find("<polyline"), std::string::npos) << "the piece before the gap";
  EXPECT_NE(svg.find("<circle"), std::string::npos) << "the point behind it";
  const std::string none = line_chart({"Loss", "step", "nats", {{"", "s1", {{1, kNaN, kNaN, kNaN}}}}, Scale::kLinear});
  EXPECT_NE(none.find("nothing was written down"), std::string::npos);
}

TEST(LineChart, DrawsOneStepAndAConstant) {
  for (const std::vector<Point>& points :
       {std::vector<Point>{{7, 0, 0, 0}}, {{1, 0, 0, 0}, {2, 0, 0, 0}}, {{1, 5, 5, 5}, {2, 5, 5, 5}}})
    for (const Scale scale : {Scale::kLinear, Scale::kFromZero, Scale::kLogWhereItHelps}) {
      const std::string svg = line_chart({"x", "step", "y", {{"", "s1", points}}, scale});
      EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
      EXPECT_NE(svg.find("class=\"grid\""), std::string::npos) << "it has ticks";
    }
}

TEST(LineChart, TakesALogarithmWhereItShowsMore) {
  const auto line = [](double low, double high) {
    return std::vector<Line>{{"", "s1", {{1, low, low, low}, {2, high, high, high}}}};
  };
  EXPECT_TRUE(wants_logarithm(line(0.5, 5)));
  EXPECT_FALSE(wants_logarithm(line(0.6, 5)));
  EXPECT_FALSE(wants_logarithm(line(0, 5)));
  EXPECT_FALSE(wants_logarithm(line(-1, 50)));
}

class MetricsFile : public testing::Test {
 protected:
  ~MetricsFile() override { std::filesystem::remove(path_); }
  MetricsRecord read(const std::string& text) const {
    std::ofstream(path_, std::ios::binary) << text;
    return read_metrics(path_);
  }
  static std::string line(int64_t step, const std::string& loss) {
    return "{\"step\": " + std::to_string(step) + ", \"tokens\": " + std::to_string(100 * step) +
           ", \"loss\": " + loss +
           ", \"seconds\": 0.5, \"tokens_per_second\": 200, \"mfu\": 0.25, \"peak_memory_bytes\": 1000}\n";
  }
  const std::string path_ = testing::TempDir() + "annulus_metrics_" + std::to_string(getpid()) + ".jsonl";
};

TEST_F(MetricsFile, IsReadAsWritten) {
  const MetricsRecord m = read(line(1, "5.5") + line(2, "null") +
                               "{\"step\": 2, \"val_loss\": 4.0, \"val_loss_by_position\": [3, null]}\n");
  EXPECT_TRUE(m.notes.empty()) << m.notes.front();
  EXPECT_EQ(m.last_step, 2);
  EXPECT_EQ(m.tokens, 200);
  EXPECT_EQ(m.trained_tokens, 200);
  EXPECT_EQ(m.seconds, 1.0);
  EXPECT_EQ(m.memory_bytes, 1000);
  EXPECT_EQ(m.loss.bins().size(), 1u) << "a loss that is not finite is null in the file";
  ASSERT_EQ(m.by_position.size(), 1u);
  EXPECT_EQ(m.by_position[0].loss[0], 3.0);
  EXPECT_TRUE(std::isnan(m.by_position[0].loss[1]));
}

TEST_F(MetricsFile, LinesThatCannotBeReadAreLeftOutAndCounted) {
  const std::string good = line(1, "5"), later = line(5, "4");
  const auto note_of = [&](const std::string& text) {
    const MetricsRecord m = read(text);
    EXPECT_EQ(m.last_step, 5) << text.substr(0, 200);
    EXPECT_EQ(m.notes.size(), 1u) << text.substr(0, 200);
    return m.notes.empty() ? "" : m.notes.front();
  };
  for (const std::string& bad :
       {std::string("rubbish"), std::string("[1]"), std::string("{\"step\": \"x\"}"), std::string("{\"step\": -1}"),
        std::string("{\"step\": 1e300}"), std::string("{\"step\": 9223372036854775807}"), std::string("\0\0", 2),
        std::string("{\"loss\": 1}"), std::string(200'000, 'x')})
    EXPECT_EQ(note_of(good + bad + "\n" + later),
              "metrics.jsonl: 1 line cannot be read and is left out; the first is line 2");
  EXPECT_NE(note_of(good + later + later.substr(0, 40)).find("last line is cut short"), std::string::npos);
}

TEST_F(MetricsFile, MayBeEmptyButMustBeThere) {
  EXPECT_EQ(read("").last_step, 0);
  std::filesystem::remove(path_);
  EXPECT_THROW(read_metrics(path_), UserError);
}

TEST_F(MetricsFile, OfManyValidationsAFewAreKept) {
  std::string text;
  for (int step = 1; step <= 10'000; ++step)
    text += "{\"step\": " + std::to_string(step) + ", \"val_loss\": 1, \"val_loss_by_position\": [1, 2]}\n";
  const MetricsRecord m = read(text);
  EXPECT_LE(m.by_position.size(), 64u);
  EXPECT_GE(m.by_position.size(), 16u);
  EXPECT_EQ(m.by_position.front().step, 1);
  EXPECT_EQ(m.by_position.back().step, 10'000);
}

// A ring of `ranks` that visit each other in turn, in steps of 1 ms with a wait of 0.1 ms before each.
Trace made_up_trace(int ranks, int layers) {
  Trace trace;
  trace.facts = {.run = "made up", .step = 3, .dims = {1, ranks}, .placement = "zigzag", .transport = "shared"};
  for (int rank = 0; rank < ranks; ++rank) {
    const double end = 1000.0 * layers * ranks;
    trace.spans.push_back({.activity = Activity::kStep, .rank = rank, .begin = 0, .end = end});
    for (int layer = 0; layer < layers; ++layer)
      for (int visit = 0; visit < ranks; ++visit) {
        const double at = 1000.0 * (layer * ranks + visit);
        TraceSpan span = {.activity = Activity::kWait, .rank = rank, .micro_batch = 0, .layer = layer, .peer = 0};
        span.begin = at;
        span.end = at + 100 + rank;
        trace.spans.push_back(span);
        span = {.activity = Activity::kVisit,
                .rank = rank,
                .micro_batch = 0,
                .layer = layer,
                .visit = visit,
                .block = (rank + visit) % ranks,
                .pairs = 10};
        span.begin = at + 100 + rank;
        span.end = at + 1000;
        trace.spans.push_back(span);
      }
  }
  return trace;
}

TEST(RingSummary, AddsUpWhatEachRankDid) {
  const std::vector<RankTime> times = rank_times(made_up_trace(3, 2));
  for (int rank = 0; rank < 3; ++rank) {
    const RankTime& time = times[static_cast<size_t>(rank)];
    EXPECT_NEAR(time.step, 6e-3, 1e-12);
    EXPECT_NEAR(time.wait, 6 * (100 + rank) * 1e-6, 1e-12);
    EXPECT_NEAR(time.attention + time.wait, time.step, 1e-12);
    EXPECT_EQ(time.pairs, 30) << "of one layer";
  }
}

TEST(RingSummary, StretchesFillTheStep) {
  const Trace trace = made_up_trace(3, 2);
  const std::vector<std::vector<Stretch>> all = stretches(trace);
  ASSERT_EQ(all.size(), 3u);
  for (const std::vector<Stretch>& mine : all) {
    double at = 0.0;
    for (const Stretch& stretch : mine) {
      EXPECT_EQ(stretch.begin, at);
      EXPECT_LT(stretch.begin, stretch.end);
      EXPECT_EQ(stretch.span->rank, &mine - all.data());
      at = stretch.end;
    }
    EXPECT_EQ(at, 6000.0);
  }
}

TEST(RingChart, StaysSmallHoweverLargeTheRing) {
  const Trace trace = made_up_trace(64, 32);  // 262,208 spans
  const std::vector<RankTime> times = rank_times(trace);
  const std::vector<int> ranks = ranks_to_show(times, 16);
  EXPECT_EQ(ranks, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 56, 57, 58, 59, 60, 61, 62, 63}))
      << "rank 0 waits least and rank 63 most";
  const std::string svg = ring_chart(stretches(trace), ranks, trace, window_of_step(trace), "all");
  EXPECT_LT(svg.size(), 600'000u);
  EXPECT_NE(svg.find("rank 63"), std::string::npos);
  EXPECT_EQ(svg.find("rank 30<"), std::string::npos);
  const std::string near = ring_chart(stretches(trace), {0, 1}, trace, window_of_layer(trace, 5, false), "layer");
  EXPECT_NE(near.find("rank 1, layer 5 forward: wait for rank 0"), std::string::npos);
  EXPECT_EQ(near.find("layer 6 forward"), std::string::npos);
}

}  // namespace
}  // namespace annulus::test
