#include "launch/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/dtypes.h"
#include "kernels/elementwise.h"
#include "launch/output_path.h"
#include "runtime/core/arena.h"
#include "runtime/core/log.h"
#include "runtime/core/rng.h"
#include "runtime/new_file.h"

namespace annulus {
namespace {

constexpr double kContended = 1.1;  // wall time over CPU time above which somebody else had the cores
constexpr double kPeakSeconds = 0.1;
constexpr int kCeilingRuns = 5;
constexpr double kShortestRun = 0.01;  // seconds; shorter calls are repeated within a run
constexpr int64_t kCopyFloats = int64_t{1} << 26;

double duration_of(const std::function<void()>& call) {
  const double begin = seconds_of(CLOCK_MONOTONIC);
  call();
  return seconds_of(CLOCK_MONOTONIC) - begin;
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double seconds_of(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

bool is_contended(double wall, double cores, double cpu) { return wall * cores > kContended * cpu; }

Ceiling measure_peak(Dtype dtype, int threads) {
  std::vector<double> rates;
  for (int run = 0; run < kCeilingRuns; ++run) rates.push_back(cpu::measure_peak_gflops(kPeakSeconds, dtype));
  const bool pairs = dtype == Dtype::kBf16 && cpu::isa_kernels().has_bf16_products;
  return {.what = pairs ? "peak (products of bf16 pairs in registers)" : "peak (f32 fused multiply-adds in registers)",
          .unit = "GFLOP/s",
          .key = "peak_gflops",
          .field = "gflops",
          .rate = median(rates) * threads,
          .is_bound = true};
}

Ceiling measure_copy_rate(int threads) {
  Arena memory("copy benchmark");
  TensorView from, to;
  for (const bool measure : {true, false}) {
    memory.reset();
    if (!measure) memory.commit();
    for (TensorView* x : {&from, &to}) *x = memory.take({kCopyFloats / 2});
  }
  fill_zero(from);
  const Timing timing = time_calls(kCeilingRuns, threads, [&] { convert(to, from); });
  return {.what = "copy rate (bytes read and written)",
          .unit = "GB/s",
          .key = "copy_gigabytes_per_second",
          .field = "gigabytes_per_second",
          .rate = 1e-9 * static_cast<double>(from.bytes() + to.bytes()) / timing.wall,
          .is_bound = false};
}

Timing time_calls(int64_t repeat, int threads, const std::function<void()>& call) {
  double seconds = duration_of(call);
  if (seconds < kShortestRun) seconds = duration_of(call);  // the first also touches its memory
  const int64_t calls = std::max<int64_t>(1, std::llround(kShortestRun / seconds));
  std::vector<double> wall, cpu;
  for (int64_t run = 0; run < repeat; ++run) {
    const double wall_begin = seconds_of(CLOCK_MONOTONIC), cpu_begin = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (int64_t i = 0; i < calls; ++i) call();
    cpu.push_back((seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin) / static_cast<double>(calls));
    wall.push_back((seconds_of(CLOCK_MONOTONIC) - wall_begin) / static_cast<double>(calls));
  }
  Timing timing = {.wall = median(wall), .cpu = median(cpu)};
  timing.contended = is_contended(timing.wall, threads, timing.cpu);
  return timing;
}

void fill_for_benchmark(TensorView x) {
  const CounterRng rng(1, "benchmark");
  std::array<float, 1009> values;
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(1.0 + 0.1 * rng.normal(i));
  with_element(x.dtype(), [&](auto element) {
    using T = decltype(element);
    for (int64_t i = 0; i < x.numel(); ++i) {
      const float value = values[static_cast<size_t>(i) % values.size()];
      if constexpr (std::is_same_v<T, float>)
        x.data<T>()[i] = value;
      else
        x.data<T>()[i] = T::from(value);
    }
  });
}

Dtype bench_dtype(const BenchOptions& options) {
  for (const Dtype dtype : {Dtype::kF32, Dtype::kBf16})
    if (options.dtype == name_of(dtype)) return dtype;
  fail(ExitCode::kUsage, "--dtype=", options.dtype, " is not possible: it is f32 or bf16");
}

BenchReport::BenchReport(const BenchOptions& options) : options_(options) {
  if (!options_.json.empty()) require_output_path(options_.json, "--json");
}

void BenchReport::begin(const Ceiling& ceiling) {
  ceiling_ = ceiling;
  log::inform(fmt::format("{}: {:.1f} {}, {} thread{}; kernels: {}", ceiling.what, ceiling.rate, ceiling.unit,
                          options_.threads, options_.threads == 1 ? "" : "s", cpu::isa_kernels().name));
  log::inform(fmt::format("{:<40} {:>9} {:>8} {:>10} {:>10}", "", ceiling.unit, "share", "wall s", "CPU s"));
}

void BenchReport::add(const std::string& name, const std::string& shape, double work, const Timing& timing) {
  const double rate = 1e-9 * work / timing.wall, fraction = rate / ceiling_.rate;
  log::inform(fmt::format("{:<18} {:<21} {:>9.1f} {:>6.1f} % {:>10.6f} {:>10.6f}{}", name, shape, rate,
                          100.0 * fraction, timing.wall, timing.cpu,
                          timing.contended ? "  contended, do not trust" : ""));
  rows_.push_back({{"name", name},
                   {"shape", shape},
                   {"dtype", options_.dtype},
                   {"isa", cpu::isa_kernels().name},
                   {"threads", options_.threads},
                   {ceiling_.field, rate},
                   {"fraction", fraction},
                   {"wall_seconds", timing.wall},
                   {"cpu_seconds", timing.cpu},
                   {"contended", timing.contended}});
}

void BenchReport::note(const std::string& key, const std::string& text) {
  log::inform(text);
  notes_[key] = text;
}

void BenchReport::finish() {
  const auto by_fraction = [](const nlohmann::json& a, const nlohmann::json& b) {
    return a["fraction"].get<double>() < b["fraction"].get<double>();
  };
  const auto say = [](const nlohmann::json& row) {
    return fmt::format("{} {}, {:.1f} %", row["name"].get<std::string>(), row["shape"].get<std::string>(),
                       100.0 * row["fraction"].get<double>());
  };
  const auto [worst, best] = std::minmax_element(rows_.begin(), rows_.end(), by_fraction);
  if (worst != rows_.end()) note("worst", "worst: " + say(*worst));
  nlohmann::json file = {{ceiling_.key, ceiling_.rate}, {"rows", rows_}};
  file.update(notes_);
  if (!options_.json.empty()) write_file(options_.json, file.dump(1) + "\n");
  require(ExitCode::kOther, !ceiling_.is_bound || best == rows_.end() || (*best)["fraction"] <= 1.0,
          "nothing can be faster than the peak, but this was: ", best == rows_.end() ? "" : say(*best),
          "; the peak was measured while other programs had the cores. Run it again when they have gone");
}

}  // namespace annulus
