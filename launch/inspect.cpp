// annulus inspect: what a checkpoint holds, for people and as JSON, and whether it is intact.
#include "runtime/checkpoint_inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "comm/agree.h"
#include "launch/commands.h"
#include "runtime/core/log.h"
#include "runtime/run_directory.h"
#include "runtime/text.h"

namespace annulus {
namespace {

// "intact", or all that is wrong, on one line.
std::string verdict(const Inspection& found) {
  if (found.problems.empty()) return "intact";
  return fmt::format("damaged: {}", fmt::join(found.problems, "; "));
}

void print_state(const std::string& path, const Manifest& manifest) {
  const RunState& state = manifest.state;
  auto print = [](const char* what, const auto& value) { log::inform(fmt::format("  {:<15} {}", what, value)); };
  log::inform("checkpoint " + path);
  print("run", printable_text(state.run_name));
  print("step", state.step);
  print("tokens", state.tokens);
  print("rows", state.rows);
  print("seed", state.seed);
  print("ranks", manifest.ranks);
  print("schema version", manifest.schema_version);
  print("code version", printable_text(state.code_version));
  print("config digest", manifest.config_digest);
  print("text digest", printable_text(state.data_digest));
  if (!state.tokenizer_digest.empty()) print("tokenizer digest", state.tokenizer_digest);
}

void print_files(const std::vector<InspectedFile>& files) {
  log::inform(fmt::format("{:<20} {:>14}  {:<32}  {}", "file", "bytes", "XXH3-128", "digest"));
  for (const InspectedFile& file : files)
    log::inform(fmt::format("{:<20} {:>14}  {}  {}", file.name, file.bytes, file.digest,
                            !file.digest_holds     ? "DOES NOT HOLD"
                            : file.problem.empty() ? "holds"
                                                   : "holds, but the file is refused"));
}

void print_tensors(const std::vector<InspectedTensor>& tensors) {
  size_t width = 0;
  for (const InspectedTensor& tensor : tensors) width = std::max(width, tensor.name.size());
  log::inform(fmt::format("{:<{}} {:>16} {:>5} {:>5} {:>11} {:>11} {:>11} {:>11}", "tensor", width, "shape", "dtype",
                          "parts", "mean", "std", "min", "max"));
  for (const InspectedTensor& tensor : tensors) {
    const ValueStatistics& values = tensor.values;
    std::string note;
    if (tensor.rows < tensor.shape[0]) note += fmt::format("  only {} of {} rows", tensor.rows, tensor.shape[0]);
    if (values.not_finite > 0) note += fmt::format("  {} values are not finite", values.not_finite);
    log::inform(fmt::format("{:<{}} {:>16} {:>5} {:>5} {:>11.4g} {:>11.4g} {:>11.4g} {:>11.4g}{}", tensor.name, width,
                            tensor.shape.text(), name_of(tensor.dtype), tensor.parts, values.mean, values.std(),
                            values.min, values.max, note));
  }
}

nlohmann::json as_json(const InspectedFile& file) {
  return {{"name", file.name},
          {"bytes", file.bytes},
          {"digest", file.digest},
          {"digest_holds", file.digest_holds},
          {"problem", file.problem}};
}

nlohmann::json as_json(const InspectedTensor& tensor) {
  std::vector<int64_t> shape;
  for (int i = 0; i < tensor.shape.rank(); ++i) shape.push_back(tensor.shape[i]);
  return {{"name", tensor.name},
          {"shape", shape},
          {"dtype", name_of(tensor.dtype)},
          {"parts", tensor.parts},
          {"rows", tensor.rows},
          {"mean", tensor.values.mean},
          {"std", tensor.values.std()},
          {"min", tensor.values.min},
          {"max", tensor.values.max},
          {"not_finite", tensor.values.not_finite}};
}

nlohmann::json as_json(const std::string& path, const Inspection& found) {
  nlohmann::json all = {{"path", path}, {"intact", found.problems.empty()}, {"problems", found.problems}};
  if (!found.has_manifest) return all;
  const RunState& state = found.manifest.state;
  all.update({{"run", state.run_name},
              {"step", state.step},
              {"tokens", state.tokens},
              {"rows", state.rows},
              {"seed", state.seed},
              {"ranks", found.manifest.ranks},
              {"schema_version", found.manifest.schema_version},
              {"code_version", state.code_version},
              {"config_digest", found.manifest.config_digest},
              {"text_digest", state.data_digest},
              {"tokenizer_digest", state.tokenizer_digest}});
  for (const InspectedFile& file : found.files) all["files"].push_back(as_json(file));
  all["tensors"] = nlohmann::json::array();
  for (const InspectedTensor& tensor : found.tensors) all["tensors"].push_back(as_json(tensor));
  return all;
}

}  // namespace

void inspect(const InspectOptions& options, Group& processes) {
  agree(processes, [&] {
    require(processes.size() == 1, "inspect runs on one rank, but ", processes.size(),
            " were started; start it without a launcher");
  });
  const std::string path = find_checkpoint(options.checkpoint);
  const Inspection found = inspect_checkpoint(path);
  if (found.has_manifest) {
    print_state(path, found.manifest);
    print_files(found.files);
    print_tensors(found.tensors);
  }
  log::inform(verdict(found));
  // A name need not be UTF-8, which JSON must be.
  if (!options.json.empty())
    write_file(options.json, as_json(path, found).dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  require(ExitCode::kCheckpoint, found.problems.empty(), "checkpoint '", path, "' is not intact",
          "; restore it from a copy, or use another one");
}

}  // namespace annulus
