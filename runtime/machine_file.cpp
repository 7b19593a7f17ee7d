#include "runtime/machine_file.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/agree.h"
#include "comm/group.h"
#include "runtime/new_file.h"

namespace annulus {
namespace {

using Json = nlohmann::json;

std::string time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
  return text;
}

// As the kernel calls it; empty where it does not.
std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  return {};
}

// Ranks of one node follow each other, or make several entries.
std::vector<Machine::Node> nodes_of(Group& world) {
  char name[256] = "unknown host";
  gethostname(name, sizeof name - 1);
  std::vector<Machine::Node> nodes;
  for (const std::string& of_rank : world.gather(name, 0, "the names of the nodes")) {
    if (nodes.empty() || nodes.back().name != of_rank) nodes.push_back({of_rank, 0});
    ++nodes.back().ranks;
  }
  return nodes;
}

std::string text_of(const Machine& m) {
  Json memory = Json::array(), nodes = Json::array();
  for (const MemoryUse& use : m.memory_plan) memory.push_back({{"category", use.category}, {"bytes", use.bytes}});
  for (const Machine::Node& node : m.nodes) nodes.push_back({{"name", node.name}, {"ranks", node.ranks}});
  const nlohmann::ordered_json all = {{"annulus", m.annulus},
                                      {"started", m.started},
                                      {"dp", m.dims.dp},
                                      {"cp", m.dims.cp},
                                      {"threads_per_rank", m.threads_per_rank},
                                      {"dtype", m.dtype},
                                      {"instruction_set", m.instruction_set},
                                      {"transport", m.transport},
                                      {"cpu", m.cpu},
                                      {"peak_flops", m.peak_flops},
                                      {"peak_dtype", m.peak_dtype},
                                      {"parameters", m.parameters},
                                      {"nodes", nodes},
                                      {"memory_plan", memory},
                                      {"memory_used", m.memory_used}};
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Machine from_json(const Json& all) {
  Machine m;
  m.annulus = all.at("annulus").get<std::string>();
  m.started = all.at("started").get<std::string>();
  m.dims = {all.at("dp").get<int>(), all.at("cp").get<int>()};
  m.threads_per_rank = all.at("threads_per_rank").get<int>();
  m.dtype = all.value("dtype", "f32");  // earlier versions had no other
  m.peak_dtype = all.value("peak_dtype", "f32");
  m.instruction_set = all.at("instruction_set").get<std::string>();
  m.transport = all.at("transport").get<std::string>();
  m.cpu = all.at("cpu").get<std::string>();
  m.peak_flops = all.at("peak_flops").get<double>();
  m.parameters = all.at("parameters").get<int64_t>();
  for (const Json& node : all.at("nodes"))
    m.nodes.push_back({node.at("name").get<std::string>(), node.at("ranks").get<int>()});
  for (const Json& use : all.at("memory_plan"))
    m.memory_plan.push_back({use.at("category").get<std::string>(), use.at("bytes").get<int64_t>()});
  m.memory_used = all.value("memory_used", int64_t{0});
  return m;
}

}  // namespace

void write_machine(const std::string& path, Machine machine, const std::vector<MemoryUse>& memory, Group& world) {
  machine.started = time_now();
  machine.cpu = cpu_name();
  machine.nodes = nodes_of(world);
  for (const MemoryUse& use : memory)
    machine.memory_plan.push_back({use.category, world.sum(use.bytes, "the memory plan")});
  agree(world, [&] {
    if (world.rank() == 0) write_file(path, text_of(machine));
  });
}

void write_memory_used(const std::string& path, int64_t bytes) {
  Machine machine = read_machine(path);
  machine.memory_used = bytes;
  write_file(path, text_of(machine));
}

Machine read_machine(const std::string& path) {
  std::ifstream file(path);
  require(ExitCode::kData, file.good(), "there is no '", path, "'");
  try {
    return from_json(Json::parse(file));
  } catch (const Json::exception&) {
    fail(ExitCode::kData, "'", path, "' is damaged");
  }
}

}  // namespace annulus
