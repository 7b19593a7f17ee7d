// annulus bench attention: the kernel's rate as a share of the peak of fused multiply-adds, measured in the same run.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>

#include "kernels/attention.h"
#include "kernels/cpu/isa.h"
#include "kernels/elementwise.h"
#include "launch/commands.h"
#include "launch/output_path.h"
#include "runtime/core/log.h"
#include "runtime/core/rng.h"
#include "runtime/run_directory.h"

namespace annulus {
namespace {

constexpr double kContended = 1.1;  // wall time over CPU time above which somebody else had the cores
constexpr double kPeakSeconds = 0.1;
constexpr int kPeakRuns = 5;

struct Row {
  std::string name, shape;
  double gflops = 0.0, wall_seconds = 0.0, cpu_seconds = 0.0;
  bool contended = false;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double cpu_seconds_now() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Medians of `repeat` runs after one that is not counted.
Row time_runs(const std::string& name, const std::string& shape, double flops, int64_t repeat, int threads,
              const std::function<void()>& run) {
  run();
  std::vector<double> wall, cpu;
  for (int64_t i = 0; i < repeat; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const double cpu_begin = cpu_seconds_now();
    run();
    cpu.push_back(cpu_seconds_now() - cpu_begin);
    wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  Row row = {name, shape, 0.0, median(wall), median(cpu), false};
  row.gflops = 1e-9 * flops / row.wall_seconds;
  row.contended = row.wall_seconds * threads > kContended * row.cpu_seconds;
  return row;
}

// One problem: N tokens, H heads of width D, causal or full.
class Problem {
 public:
  Problem(int64_t N, int64_t H, int64_t D, bool causal) : dims_{1, N, N, H, H, D, D} {
    const Mask mask = causal ? causal_mask(N, N) : Mask{{0, N, 0, N, -kUnbounded, kUnbounded}};
    tiles_ = make_attention_tiles({{0, N, 1}}, {{0, N, 1}}, mask, attention_query_block());
    for (QueryBlock& block : tiles_.blocks) block.first = block.last = true;
    options_.softmax_scale = 1.0f / std::sqrt(static_cast<float>(D));
    for (const bool measure : {true, false}) {
      if (!measure) memory_.commit();
      const Arena::Scope scope(memory_);
      take();
      if (!measure) fill_inputs();
      forward();
      backward();
    }
    take();
    fill_inputs();
    forward();
    attention_delta(delta_, out_, dout_);
  }

  void forward() { attention_forward(out_, lse_, state_, q_, kv_, dims_, tiles_, options_, memory_, nullptr); }
  void backward() {
    attention_backward(dq_, dkv_, q_, kv_, dout_, lse_, delta_, dims_, tiles_, options_, memory_, nullptr);
  }
  double forward_flops() const { return 2.0 * static_cast<double>(tiles_.pairs * dims_.H * (dims_.Dqk + dims_.Dv)); }

 private:
  void take() {
    const auto& n = dims_;
    const Shape tokens = {n.B, n.Tq, n.H, n.Dqk};
    for (TensorView* x : {&q_, &k_, &v_, &dout_, &out_, &dq_}) *x = memory_.take(tokens);
    lse_ = memory_.take({2, n.B, n.H, n.Tq});
    delta_ = memory_.take({n.B, n.H, n.Tq});
    for (TensorView* x : {&kv_, &dkv_}) *x = memory_.take({kv_block_numel(n)});
    state_ = memory_.take({attention_state_floats(n, tiles_)});
  }

  void fill_inputs() {
    for (const auto& [x, name] : {std::pair{q_, "q"}, {k_, "k"}, {v_, "v"}, {dout_, "dout"}}) {
      const CounterRng rng(1, name);
      for (int64_t i = 0; i < x.numel(); ++i)
        x.data<float>()[i] = static_cast<float>(rng.normal(static_cast<uint64_t>(i)));
    }
    for (const TensorView& x : {dq_, lse_, delta_}) fill_zero(x);
    pack_kv(kv_, k_, v_);
  }

  AttentionDims dims_;
  AttentionTiles tiles_;
  AttentionOptions options_{};
  Arena memory_{"benchmark"};
  TensorView q_, k_, v_, dout_, out_, dq_, lse_, delta_, kv_, dkv_, state_;
};

double measure_peak(int threads) {
  std::vector<double> peaks;
  for (int run = 0; run < kPeakRuns; ++run) peaks.push_back(cpu::measure_peak_gflops(kPeakSeconds));
  return median(peaks) * threads;
}

}  // namespace

void bench_attention(const BenchOptions& options) {
  cpu::choose_isa(options.isa);
  cpu::set_num_threads(options.threads);
  const auto lengths = options.lengths.empty() ? std::vector<int64_t>{2048, 4096, 8192} : options.lengths;
  const auto widths = options.widths.empty() ? std::vector<int64_t>{64, 128} : options.widths;
  if (!options.json.empty()) require_output_path(options.json, "--json");
  for (const int64_t D : widths) require_supported({1, 1, 1, 1, 1, D, D}, "bench attention");
  const double peak = measure_peak(options.threads);
  const char* isa = cpu::isa_kernels().name;
  log::inform(
      fmt::format("peak {:.1f} GFLOP/s ({} thread{}, f32 fused multiply-adds in registers); attention kernels: {}",
                  peak, options.threads, options.threads == 1 ? "" : "s", isa));
  log::inform(fmt::format("{:<32} {:>9} {:>8} {:>9} {:>9}", "", "GFLOP/s", "of peak", "wall s", "CPU s"));
  nlohmann::json rows = nlohmann::json::array();
  auto report = [&](const Row& row) {
    const double fraction = row.gflops / peak;
    log::inform(fmt::format("{:<10} {:<21} {:>9.1f} {:>6.1f} % {:>9.4f} {:>9.4f}{}", row.name, row.shape, row.gflops,
                            100.0 * fraction, row.wall_seconds, row.cpu_seconds,
                            row.contended ? "  contended, do not trust" : ""));
    rows.push_back({{"name", row.name},
                    {"shape", row.shape},
                    {"dtype", "f32"},
                    {"isa", isa},
                    {"threads", options.threads},
                    {"gflops", row.gflops},
                    {"fraction", fraction},
                    {"wall_seconds", row.wall_seconds},
                    {"cpu_seconds", row.cpu_seconds},
                    {"contended", row.contended}});
  };
  for (const int64_t D : widths)
    for (const int64_t N : lengths)
      for (const bool causal : {false, true}) {
        Problem problem(N, options.heads, D, causal);
        const std::string shape = fmt::format("N{} H{} D{} {}", N, options.heads, D, causal ? "causal" : "full");
        report(time_runs("forward", shape, problem.forward_flops(), options.repeat, options.threads,
                         [&] { problem.forward(); }));
        report(time_runs("backward", shape, 2.5 * problem.forward_flops(), options.repeat, options.threads,
                         [&] { problem.backward(); }));
      }
  if (!options.json.empty())
    write_file(options.json, nlohmann::json{{"peak_gflops", peak}, {"rows", rows}}.dump(1) + "\n");
}

}  // namespace annulus
