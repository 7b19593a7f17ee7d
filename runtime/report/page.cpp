#include "runtime/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runtime/core/memory.h"
#include "runtime/new_file.h"
#include "runtime/report/axis.h"
#include "runtime/report/bar_chart.h"
#include "runtime/report/line_chart.h"
#include "runtime/report/markup.h"
#include "runtime/report/ring_chart.h"
#include "runtime/report/ring_section.h"
#include "runtime/report/style.h"
#include "runtime/text.h"

namespace annulus {
namespace {

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 86400) return fmt::format("{} d {} h", whole / 86400, whole / 3600 % 24);
  if (whole >= 3600) return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{:.3g} s", seconds);
}

// ---- the top: what ran, and how it ended

std::string card(const std::string& value, const std::string& what) {
  return fmt::format("<div class=\"card\"><b>{}</b><span>{}</span></div>\n", escaped(value), escaped(what));
}

std::string tokens_text(int64_t tokens) {
  const auto number = static_cast<double>(tokens);
  if (tokens >= 1'000'000'000'000) return fmt::format("{:.4g} trillion", 1e-12 * number);
  if (tokens >= 1'000'000'000) return fmt::format("{:.4g} billion", 1e-9 * number);
  return tokens >= 10'000'000 ? fmt::format("{:.4g} million", 1e-6 * number) : grouped(tokens);
}

std::string loss_card(const BinnedSeries& loss) {
  double sum = 0.0;
  int64_t count = 0;
  for (auto bin = loss.bins().rbegin(); bin != loss.bins().rend() && count < 50; ++bin) {
    sum += bin->sum;
    count += bin->count;
  }
  if (count == 0) return {};
  return card(fmt::format("{:.4f}", sum / static_cast<double>(count)),
              count == 1 ? "loss of the step, nats per token" : fmt::format("loss, mean of the last {} steps", count));
}

std::string validation_card(const BinnedSeries& loss) {
  if (loss.bins().empty()) return {};
  const auto best = std::min_element(loss.bins().begin(), loss.bins().end(),
                                     [](const Bin& a, const Bin& b) { return a.least < b.least; });
  const double last = loss.bins().back().mean();
  return card(fmt::format("{:.4f}", last), best->least < last
                                               ? fmt::format("validation loss; {:.4f} at best", best->least)
                                               : "validation loss, nats per token");
}

std::string cards(const RunRecord& run) {
  const MetricsRecord& m = run.metrics;
  std::string html = "<div class=\"cards\">\n";
  html += card(grouped(m.last_step), fmt::format("of {} steps", grouped(run.config.train.steps)));
  html += card(tokens_text(m.tokens), "tokens trained on");
  html += loss_card(m.loss) + validation_card(m.validation_loss);
  if (m.seconds > 0.0) {
    html += card(duration(m.seconds), "in steps");
    html += card(grouped(std::llround(static_cast<double>(m.trained_tokens) / m.seconds)), "tokens per second, mean");
    html += card(fmt::format("{:.0f} %", 100.0 * m.share_of_peak_seconds / m.seconds), "of the cores' peak, mean");
  }
  if (m.memory_bytes > 0) html += card(human_bytes(m.memory_bytes), "memory at most, all ranks");
  return html + "</div>\n";
}

std::string nodes_text(const Machine& machine) {
  std::string names;
  for (size_t i = 0; i < machine.nodes.size() && i < 4; ++i) names += (i > 0 ? ", " : "") + machine.nodes[i].name;
  return fmt::format("{} node{} ({}{})", machine.nodes.size(), machine.nodes.size() == 1 ? "" : "s", names,
                     machine.nodes.size() > 4 ? ", ..." : "");
}

std::string facts(const RunRecord& run) {
  std::string html = "<dl class=\"facts\">\n";
  const auto fact = [&](const char* name, const std::string& value) {
    html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, escaped(value));
  };
  const ModelConfig& m = run.config.model;
  const DataConfig& d = run.config.data;
  const ParallelConfig& p = run.config.parallel;
  const std::string parameters =
      run.machine ? fmt::format("{:.2f} M parameters: ", 1e-6 * static_cast<double>(run.machine->parameters)) : "";
  fact("model",
       fmt::format("{}{} layers of width {}, {} heads of width {} over {} key/value heads, MLP {}, vocabulary {}",
                   parameters, m.layers, m.width, m.heads, m.head_dim, m.kv_heads, m.ffn, m.vocab));
  fact("data", fmt::format("{}; {} sequence{} of {} tokens a step", printable_text(d.path), grouped(d.global_batch),
                           d.global_batch == 1 ? "" : "s", grouped(d.sequence_length)));
  fact("ranks", fmt::format("{} = dp {} x cp {}, {} placement{}", p.dp * p.cp, p.dp, p.cp, p.placement,
                            run.machine ? fmt::format(", transport {}, {} thread{} each", run.machine->transport,
                                                      run.machine->threads_per_rank,
                                                      run.machine->threads_per_rank == 1 ? "" : "s")
                                        : ""));
  if (!run.machine) {
    fact("machine", "not known: " + run.machine_missing);
    return html + "</dl>\n";
  }
  const Machine& machine = *run.machine;
  const std::string peak = machine.peak_flops > 0.0
                               ? fmt::format("; peak of the cores in use {} GFLOP/s in {}",
                                             short_number(1e-9 * machine.peak_flops), machine.peak_dtype)
                               : "";
  fact("machine", fmt::format("{}, {}, {}{}", nodes_text(machine), machine.cpu.empty() ? "a CPU" : machine.cpu,
                              machine.instruction_set, peak));
  fact("annulus", fmt::format("{}, last started {}", machine.annulus, machine.started));
  return html + "</dl>\n";
}

std::string top(const RunRecord& run) {
  const std::string name = escaped(run.config.run.name);
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{} - annulus</title>\n"
      "<style>{}{}</style>\n</head>\n<body>\n<h1>{}</h1>\n<p class=\"lead\">a training run of annulus</p>\n",
      name, report_style(), block_colours(), name);
  for (const std::string& note : run.metrics.notes) html += fmt::format("<p class=\"note\">{}</p>\n", escaped(note));
  return html + cards(run) + facts(run);
}

// ---- curves

LineChart over_steps(const std::string& title, const std::string& unit, std::vector<Line> lines, Scale scale) {
  return {.title = title, .x_name = "step", .y_name = unit, .lines = std::move(lines), .scale = scale};
}

std::string resolution(const MetricsRecord& metrics) {
  const int64_t steps = metrics.loss.steps_per_bin();
  if (steps == 1) return {};
  return fmt::format(
      "<p class=\"lead\">Each point is the mean of {} steps; bands reach from the least to the largest.</p>\n",
      grouped(steps));
}

// A few validations, the last among them; x is where the parts of the sequence lie.
LineChart loss_by_position(const RunRecord& run) {
  const std::vector<PositionCurve>& curves = run.metrics.by_position;
  LineChart chart = {.title = "Validation loss by position",
                     .x_name = "position in the sequence",
                     .y_name = "nats per token",
                     .lines = {},
                     .scale = Scale::kLinear};
  const size_t count = std::min<size_t>(curves.size(), 5);
  for (size_t i = 0; i < count; ++i) {
    const PositionCurve& curve = curves[count == 1 ? 0 : i * (curves.size() - 1) / (count - 1)];
    const bool last = i + 1 == count, first = i == 0;
    Line line = {fmt::format("step {}", grouped(curve.step)), last ? "s1" : first ? "s2" : "faint", {}};
    const double part = static_cast<double>(run.config.data.sequence_length) / static_cast<double>(curve.loss.size());
    for (size_t at = 0; at < curve.loss.size(); ++at) {
      const double loss = curve.loss[at];
      line.points.push_back({(static_cast<double>(at) + 0.5) * part, loss, loss, loss});
    }
    chart.lines.push_back(std::move(line));
  }
  return chart;
}

std::string curves(const RunRecord& run) {
  const MetricsRecord& m = run.metrics;
  std::string html = "<h2 id=\"loss\">Loss</h2>\n" + resolution(m) + "<div class=\"grid\">\n";
  html +=
      line_chart(over_steps("Loss", "nats per token",
                            {{"training", "s1", points_of(m.loss)}, {"validation", "s2", points_of(m.validation_loss)}},
                            Scale::kLogWhereItHelps));
  html += line_chart(loss_by_position(run));
  html += line_chart(over_steps("Learning rate", "", {{"", "s1", points_of(m.learning_rate)}}, Scale::kFromZero));
  html += line_chart(
      over_steps("Gradient norm", "before clipping", {{"", "s1", points_of(m.grad_norm)}}, Scale::kLogWhereItHelps));
  html += "</div>\n<h2 id=\"speed\">Speed</h2>\n<div class=\"grid\">\n";
  html += line_chart(
      over_steps("Speed", "tokens per second", {{"", "s1", points_of(m.tokens_per_second)}}, Scale::kFromZero));
  html += line_chart(over_steps("Use of the cores", "%",
                                {{"share of their peak", "s1", points_of(m.share_of_peak, 100.0)},
                                 {"of the time waiting in the ring", "s2", points_of(m.wait_fraction, 100.0)}},
                                Scale::kFromZero));
  return html + "</div>\n";
}

// ---- memory

std::string memory(const RunRecord& run) {
  std::string html = "<h2 id=\"memory\">Memory</h2>\n";
  if (!run.machine)
    return html + fmt::format("<p class=\"none\">The plan is not known: {}; train writes it at each start.</p>\n",
                              escaped(run.machine_missing));
  ByteBar plan = {"planned", {}};
  int64_t planned = 0;
  for (const MemoryUse& use : run.machine->memory_plan) {
    if (use.bytes > 0)
      plan.parts.push_back({{use.category, fmt::format("b{}", 3 * plan.parts.size() % 16)}, use.bytes});
    planned += use.bytes;
  }
  std::vector<ByteBar> bars = {plan};
  const int64_t used = std::max(run.metrics.memory_bytes, run.machine->memory_used);
  if (used > 0) bars.push_back({"used at most", {{{"measured", "layer"}, used}}});
  html += fmt::format("<p>All ranks together, since the run was last started: {} planned{}.</p>\n",
                      human_bytes(planned), used > 0 ? fmt::format(", at most {} used", human_bytes(used)) : "");
  return html + byte_bars("Memory", bars);
}

}  // namespace

std::string report_page(const RunRecord& run) {
  return top(run) + curves(run) + ring_section(run) + memory(run) +
         fmt::format(
             "<h2 id=\"config\">Config</h2>\n<details><summary>Everything the run was told</summary>\n"
             "<pre>{}</pre></details>\n<footer>annulus report: made from what the run's directory holds; "
             "point at a curve or a bar to see its numbers.</footer>\n</body>\n</html>\n",
             escaped(run.config_text));
}

void write_report(const std::string& directory, const std::string& path) {
  write_file(path, report_page(read_run(directory)));
}

}  // namespace annulus
