#pragma once
// What a run tells: a line per step for people, and metrics.jsonl (a JSON object a line) for programs.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace annulus {

struct StepStats {
  int64_t step = 0;    // 1-based
  int64_t tokens = 0;  // trained on so far
  double loss = 0.0;   // nats per token
  double grad_norm = 0.0;
  double learning_rate = 0.0;
  double seconds = 0.0;  // of the step
  double tokens_per_second = 0.0;
  double mfu = 0.0;               // model flops per second / peak of the cores in use
  double wait_fraction = 0.0;     // of the step, mean over ranks: waiting for blocks and gradients
  int64_t peak_memory_bytes = 0;  // held so far (memory_held()), summed over ranks
};

struct ValidationStats {
  int64_t step = 0;
  double loss = 0.0;                     // nats per token, over the whole validation part
  std::optional<double> loss_per_byte;   // nats per byte of the text, where a tokenizer cuts it into other tokens
  std::vector<double> loss_by_position;  // mean of equal parts of the sequence
};

/// Rank 0 writes; on other ranks every call does nothing.
class Metrics {
 public:
  /// Continues metrics.jsonl in `run_directory` behind `resumed_step`: later lines are cut off (temporary file +
  /// rename).
  Metrics(const std::string& run_directory, int64_t resumed_step, int64_t total_steps, bool writes);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void record(const StepStats& step, bool print);
  void record(const ValidationStats& validation);

 private:
  void append(const std::string& line);

  int file_ = -1;
  int64_t total_steps_;
  double seconds_ = 0.0;  // of the steps since start, for the estimate
  int64_t steps_ = 0;
};

}  // namespace annulus
