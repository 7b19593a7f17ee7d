#pragma once
// What all benchmarks share: a ceiling that is measured first, medians of runs beside their CPU time, and rows on the
// screen and in a JSON file.
#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launch/commands.h"
#include "runtime/core/tensor.h"

namespace annulus {

/// What a rate is a share of.
struct Ceiling {
  std::string what, unit;  // for people: "peak (f32 fused multiply-adds in registers)", "GFLOP/s"
  std::string key, field;  // in JSON: "peak_gflops" of the file, "gflops" of a row
  double rate;             // in 1e9 a second, of all threads
  bool is_bound;           // nothing is faster: a row above it fails the benchmark
};

/// The median of five measurements of 0.1 s, times `threads`. bf16: cpu::measure_peak_gflops says which rate that is.
Ceiling measure_peak(Dtype dtype, int threads);

/// Bytes read and written in a second by a plain copy of 256 MiB on `threads` threads, median of five. What fits a
/// cache may be faster.
Ceiling measure_copy_rate(int threads);

/// Of several values, the upper one of the two in the middle.
double median(std::vector<double> values);

/// A clock's seconds: CLOCK_MONOTONIC, or CLOCK_PROCESS_CPUTIME_ID, which runs for all threads of this process.
double seconds_of(clockid_t clock);

/// Whether `cores` that work for `wall` seconds have been somebody else's for more than a tenth of that, by the CPU
/// time of all threads.
bool is_contended(double wall, double cores, double cpu);

/// Medians of one call, in seconds. CPU time is that of all threads of this process.
struct Timing {
  double wall = 0.0, cpu = 0.0;
  bool contended = false;  // the threads got less CPU time than the clock on the wall ran: somebody else had the cores
};

/// Medians over `repeat` runs after one call that is not counted; short calls are repeated within a run.
Timing time_calls(int64_t repeat, int threads, const std::function<void()>& call);

/// Ordinary positive numbers, 1009 different ones: the time of a kernel may depend on NaN and subnormal ones. f32 or
/// bf16.
void fill_for_benchmark(TensorView x);

/// f32 or bf16 of --dtype; throws UserError.
Dtype bench_dtype(const BenchOptions& options);

/// The table of one benchmark. Made after cpu::choose_isa and cpu::set_num_threads.
class BenchReport {
 public:
  /// Throws UserError (73) where the JSON file cannot be written, before anything is measured.
  explicit BenchReport(const BenchOptions& options);

  /// Says the ceiling and begins the table.
  void begin(const Ceiling& ceiling);

  /// One row; `work` is what one call did, in the ceiling's unit (flops or bytes).
  void add(const std::string& name, const std::string& shape, double work, const Timing& timing);

  /// A line behind the table, and a value of that name in the file.
  void note(const std::string& key, const std::string& text);

  /// Names the row with the smallest share and writes the file. Throws UserError where a row is above a bound.
  void finish();

 private:
  const BenchOptions options_;
  Ceiling ceiling_;
  nlohmann::json rows_ = nlohmann::json::array(), notes_ = nlohmann::json::object();
};

}  // namespace annulus
