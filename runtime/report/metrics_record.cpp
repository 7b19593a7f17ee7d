// metrics.jsonl into curves, line by line.
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/core/error.h"
#include "runtime/report/run_record.h"

namespace annulus {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMostSteps = int64_t{1} << 40;  // far more than a run may have
constexpr size_t kMostCurves = 64;

double number_of(const Json& line, const char* name) {
  const auto found = line.find(name);
  return found != line.end() && found->is_number() ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

// Every second one goes when there are too many, but the first and the last.
class PositionCurves {
 public:
  void add(PositionCurve curve) {
    if (!last_is_kept_ && !curves_.empty()) curves_.pop_back();
    last_is_kept_ = number_++ % every_ == 0;
    curves_.push_back(std::move(curve));
    if (curves_.size() < kMostCurves) return;
    std::vector<PositionCurve> fewer;
    for (size_t i = 0; i < curves_.size(); i += 2) fewer.push_back(std::move(curves_[i]));
    curves_ = std::move(fewer);
    every_ *= 2;
  }
  std::vector<PositionCurve> take() { return std::move(curves_); }

 private:
  std::vector<PositionCurve> curves_;
  int64_t number_ = 0, every_ = 1;
  bool last_is_kept_ = true;
};

class MetricsReader {
 public:
  /// False where it is no line of metrics.
  bool take(const Json& line) {
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) return false;
    const auto step = line["step"].get<int64_t>();
    if (step < std::max<int64_t>(1, record_.last_step) || step > kMostSteps) return false;
    record_.last_step = step;
    if (line.contains("val_loss"))
      take_validation(step, line);
    else
      take_step(step, line);
    return true;
  }

  MetricsRecord finish() {
    record_.by_position = curves_.take();
    return std::move(record_);
  }

 private:
  void take_step(int64_t step, const Json& line) {
    MetricsRecord& r = record_;
    for (auto& [series, name] : {std::pair<BinnedSeries*, const char*>{&r.loss, "loss"},
                                 {&r.grad_norm, "grad_norm"},
                                 {&r.learning_rate, "learning_rate"},
                                 {&r.tokens_per_second, "tokens_per_second"},
                                 {&r.share_of_peak, "mfu"},
                                 {&r.wait_fraction, "wait_fraction"}})
      series->add(step, number_of(line, name));
    const double seconds = number_of(line, "seconds"), tokens = number_of(line, "tokens");
    const double memory = number_of(line, "peak_memory_bytes");
    ++r.steps;
    if (seconds > 0.0 && std::isfinite(seconds)) {
      r.seconds += seconds;
      r.trained_tokens += std::llround(std::max(0.0, seconds * number_of(line, "tokens_per_second")));
      r.share_of_peak_seconds += seconds * std::max(0.0, number_of(line, "mfu"));
    }
    if (0.0 <= tokens && tokens < 0x1p62) r.tokens = std::llround(tokens);
    if (0.0 <= memory && memory < 0x1p62) r.memory_bytes = std::llround(memory);
  }

  void take_validation(int64_t step, const Json& line) {
    record_.validation_loss.add(step, number_of(line, "val_loss"));
    PositionCurve curve = {step, {}};
    for (const Json& loss : line.value("val_loss_by_position", Json::array())) {
      const bool known = loss.is_number() && curve.loss.size() < 1024;
      curve.loss.push_back(known ? loss.get<double>() : std::numeric_limits<double>::quiet_NaN());
    }
    if (!curve.loss.empty()) curves_.add(std::move(curve));
  }

  MetricsRecord record_;
  PositionCurves curves_;
};

}  // namespace

MetricsRecord read_metrics(const std::string& path) {
  constexpr size_t kLongestLine = size_t{1} << 16;
  std::ifstream file(path);
  require(ExitCode::kData, file.good(), "there is no '", path,
          "', so no step of the run was written down; give a directory runs/NAME that `annulus train` has made");
  MetricsReader reader;
  std::string line(kLongestLine, '\0');
  int64_t number = 0, bad = 0, first_bad = 0;
  bool last_is_cut = false;
  while (file.getline(line.data(), static_cast<std::streamsize>(line.size())) || file.gcount() > 0) {
    ++number;
    const auto size = static_cast<size_t>(file.gcount());
    const bool too_long = file.fail();
    if (too_long) {
      file.clear();
      file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    }
    last_is_cut = file.eof();
    const auto end = line.begin() + static_cast<std::ptrdiff_t>(size - (last_is_cut || too_long ? 0 : 1));
    if (!too_long && reader.take(Json::parse(line.begin(), end, nullptr, false))) continue;
    if (last_is_cut) break;
    if (++bad == 1) first_bad = number;
  }
  MetricsRecord record = reader.finish();
  if (bad > 0)
    record.notes.push_back(fmt::format("metrics.jsonl: {} line{} cannot be read and {} left out; the first is line {}",
                                       bad, bad == 1 ? "" : "s", bad == 1 ? "is" : "are", first_bad));
  if (last_is_cut)
    record.notes.push_back(
        "metrics.jsonl: its last line is cut short: the run was stopped, or this page made, while it was written");
  return record;
}

}  // namespace annulus
