#pragma once
// All that a run directory says about its run, in bounded memory however long the run was.
#include <optional>
#include <string>
#include <vector>

#include "runtime/config.h"
#include "runtime/machine_file.h"
#include "runtime/report/binned_series.h"
#include "runtime/trace_file.h"

namespace annulus {

/// Validation loss of equal parts of the sequence, after a step.
struct PositionCurve {
  int64_t step = 0;
  std::vector<double> loss;  // NaN where a part predicts nothing
};

/// metrics.jsonl
struct MetricsRecord {
  BinnedSeries loss, grad_norm, learning_rate, tokens_per_second, share_of_peak, wait_fraction, validation_loss;
  std::vector<PositionCurve> by_position;                            // a few dozen, the first and the last among them
  int64_t steps = 0, last_step = 0, tokens = 0, trained_tokens = 0;  // lines; of the whole run; of these lines
  double seconds = 0.0, share_of_peak_seconds = 0.0;
  int64_t memory_bytes = 0;  // the most, since the run was last started
  std::vector<std::string> notes;
};

struct RunRecord {
  Config config;
  std::string config_text;
  MetricsRecord metrics;
  std::optional<Machine> machine;
  std::optional<Trace> trace;
  std::string machine_missing, trace_missing;  // why, where they are
};

/// The curves of a metrics.jsonl. Throws UserError (65) where there is none.
MetricsRecord read_metrics(const std::string& path);

/// Throws UserError: 64 where `directory` is none, 65 where config.toml or metrics.jsonl is missing or not ours. Lines
/// of metrics.jsonl that cannot be read are left out, with a note; of machine.json and trace.json the record says why
/// they are missing.
RunRecord read_run(const std::string& directory);

}  // namespace annulus
