#include "runtime/metrics.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/core/error.h"
#include "runtime/core/log.h"
#include "runtime/run_directory.h"

namespace annulus {
namespace {

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

// The lines of an earlier part of the run that are not behind `step`. A last line cut short by a crash is left out.
std::string lines_up_to(const std::string& path, int64_t step) {
  std::ifstream file(path);
  std::string kept;
  for (std::string line; std::getline(file, line);) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (object.is_object() && object.contains("step") && object["step"].is_number_integer() &&
        object["step"].get<int64_t>() <= step)
      kept += line + "\n";
  }
  return kept;
}

std::string number(double value) { return std::isfinite(value) ? fmt::format("{:.17g}", value) : "null"; }

}  // namespace

Metrics::Metrics(const std::string& run_directory, int64_t resumed_step, int64_t total_steps, bool writes)
    : total_steps_(total_steps) {
  if (!writes) return;
  const std::string path = run_directory + "/metrics.jsonl";
  write_file(path, lines_up_to(path, resumed_step));
  file_ = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  require(ExitCode::kStorage, file_ >= 0, "cannot append to '", path, "': ", std::strerror(errno));
}

Metrics::~Metrics() {
  if (file_ >= 0) close(file_);
}

// A whole line or nothing: a disk that was full for a while leaves no half of one.
void Metrics::append(const std::string& line) {
  const off_t end = lseek(file_, 0, SEEK_END);
  const ssize_t written = write(file_, line.data(), line.size());
  if (written == static_cast<ssize_t>(line.size())) return;
  const int error = written < 0 ? errno : ENOSPC;
  const bool mended = written <= 0 || ftruncate(file_, end) == 0;
  log::warn(fmt::format("metrics.jsonl: a line was not written{}: {}", mended ? "" : " whole", std::strerror(error)));
}

void Metrics::record(const StepStats& s, bool print) {
  if (file_ < 0) return;
  append(
      fmt::format("{{\"step\": {}, \"tokens\": {}, \"loss\": {}, \"grad_norm\": {}, \"learning_rate\": {}, "
                  "\"seconds\": {:.6g}, \"tokens_per_second\": {:.6g}, \"mfu\": {:.4g}, \"wait_fraction\": {:.4g}, "
                  "\"peak_memory_bytes\": {}}}\n",
                  s.step, s.tokens, number(s.loss), number(s.grad_norm), number(s.learning_rate), s.seconds,
                  s.tokens_per_second, s.mfu, s.wait_fraction, s.peak_memory_bytes));
  seconds_ += s.seconds;
  ++steps_;
  if (!print) return;
  const double eta = seconds_ / static_cast<double>(steps_) * static_cast<double>(total_steps_ - s.step);
  log::inform(fmt::format("step {:>{}}/{}  loss {:.4f}  {:.0f} tok/s  {:.0f} % of peak  wait {:.0f} %  ETA {}", s.step,
                          std::to_string(total_steps_).size(), total_steps_, s.loss, s.tokens_per_second, 100.0 * s.mfu,
                          100.0 * s.wait_fraction, duration_text(eta)));
}

void Metrics::record(const ValidationStats& v) {
  if (file_ < 0) return;
  std::string by_position;
  for (const double loss : v.loss_by_position) by_position += (by_position.empty() ? "" : ", ") + number(loss);
  const std::string per_byte = v.loss_per_byte ? "\"val_loss_per_byte\": " + number(*v.loss_per_byte) + ", " : "";
  append(fmt::format("{{\"step\": {}, \"val_loss\": {}, {}\"val_loss_by_position\": [{}]}}\n", v.step, number(v.loss),
                     per_byte, by_position));
  log::inform(fmt::format("step {}/{}  validation loss {:.4f} nats per token{}", v.step, total_steps_, v.loss,
                          v.loss_per_byte ? fmt::format(", {:.4f} per byte", *v.loss_per_byte) : ""));
}

}  // namespace annulus
