#include "runtime/report/run_record.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/config_file.h"
#include "runtime/core/error.h"
#include "runtime/text.h"

namespace annulus {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  require(ExitCode::kData, file.good(), "there is no '", path,
          "'; give a directory runs/NAME that `annulus train` has made");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Config config_of(const std::string& text, const std::string& path) {
  try {
    return parse_config(text, path);
  } catch (const UserError& error) {
    fail(ExitCode::kData, error.what());
  }
}

template <class T>
std::optional<T> read_if_there(T (*read)(const std::string&), const std::string& directory, const char* name,
                               std::string& why_not) {
  std::error_code ignored;
  if (!std::filesystem::exists(directory + "/" + name, ignored)) {
    why_not = concat("the run directory has no ", name);
    return {};
  }
  try {
    return read(directory + "/" + name);
  } catch (const UserError&) {
    why_not = concat(name, " is damaged");
    return {};
  }
}

}  // namespace

RunRecord read_run(const std::string& directory) {
  std::error_code ignored;
  require(std::filesystem::is_directory(directory, ignored), "'", printable_text(directory), "' is ",
          std::filesystem::exists(directory, ignored) ? "no directory" : "not there",
          "; give the directory of a run: annulus report runs/NAME");
  RunRecord run;
  const std::string config_path = directory + "/config.toml";
  run.config_text = text_of(config_path);
  run.config = config_of(run.config_text, config_path);
  run.metrics = read_metrics(directory + "/metrics.jsonl");
  run.machine = read_if_there(read_machine, directory, "machine.json", run.machine_missing);
  run.trace = read_if_there(read_trace, directory, "trace.json", run.trace_missing);
  return run;
}

}  // namespace annulus
