// annulus plan: what a run will take, from the functions that the run itself is sized by. Nothing is run.
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "comm/agree.h"
#include "comm/choose_transport.h"
#include "kernels/attention.h"
#include "kernels/cpu/isa.h"
#include "launch/commands.h"
#include "runtime/config_file.h"
#include "runtime/core/log.h"
#include "runtime/core/memory.h"
#include "runtime/open_dataset.h"
#include "runtime/planned_rank.h"

namespace annulus {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

// The most that a rank sends in a forward pass and in a backward pass, between the nodes of the first ring.
struct Sent {
  int64_t forward = 0, backward = 0;
};

Sent most_sent(const Schedule& schedule, const NodeMap& nodes) {
  const int P = nodes.num_ranks();
  const auto elements_of = [&](int block) {
    return schedule.heads.kv_elements(schedule.num_keys[static_cast<size_t>(block)]);
  };
  const auto bytes_of = [&](int block) { return elements_of(block) * size_of(schedule.heads.dtype); };
  const auto gradient_bytes_of = [&](int block) { return elements_of(block) * size_of(Dtype::kF32); };
  const auto entering = [&](int rank, bool backward) {
    int64_t bytes = 0;
    for (int n = 0; n < nodes.num_entering(rank, backward); ++n) bytes += bytes_of(nodes.entering(n, rank, backward));
    return bytes;
  };
  int64_t all = 0;  // gradients
  for (int block = 0; block < P; ++block) all += gradient_bytes_of(block);
  Sent most;
  for (int rank = 0; rank < P; ++rank) {
    const int next = (rank + 1) % P, previous = (rank + P - 1) % P;
    const int64_t gradients = nodes.together(rank, previous) ? 0 : all - gradient_bytes_of(rank);
    most.forward = std::max(most.forward, entering(next, false));
    most.backward = std::max(most.backward, entering(previous, true) + gradients);
  }
  return most;
}

void say(const std::string& what, const std::string& value) { log::inform(fmt::format("  {:<28} {}", what, value)); }

void say_memory(PlannedRank& rank, int64_t available) {
  log::inform("memory of the rank that holds most");
  for (const MemoryUse& use : rank.memory()) say(use.category, human_bytes(use.bytes));
  const int64_t total = bytes_to_take(rank.memory());
  say("together", fmt::format("{} of {}{}", human_bytes(total), human_bytes(available),
                              total <= available ? "" : ": does not fit"));
}

void say_traffic(const Config& config, int ranks_per_node, PlannedRank& rank) {
  const int64_t ranks = config.parallel.dp * config.parallel.cp;
  // Where nobody says how the ranks lie on nodes, as if each were alone, as it is where messages are forced.
  const NodeMap ring = rank.nodes(0), apart = nodes_of_ring(0, ring.num_ranks(), 1);
  const std::string kind = transport_on(ring, config.parallel.transport);
  const bool known = ranks_per_node > 0;
  log::inform(known ? "bytes that a rank sends in a step (blocks only to other nodes)"
                    : "bytes that a rank sends in a step (blocks only where ranks do not share memory)");
  if (known) say("transport", kind == "nodes" ? concat(kind, " (", ring.text(), ")") : kind);
  if (const Schedule* schedule = rank.schedule()) {
    const int64_t times = config.model.layers * rank.micro_batches();
    const Sent sent = most_sent(*schedule, known && kind != "mpi" ? ring : apart);
    int64_t hop = 0;
    for (const Hop& h : schedule->forward.hops) hop = std::max(hop, h.send && sent.forward > 0 ? h.bytes : 0);
    say("largest hop", human_bytes(hop));
    say("forward", human_bytes(times * sent.forward));
    say("backward", human_bytes(times * sent.backward));
  } else {
    say("forward and backward", "depends on the documents of each batch");
  }
  // Reduce-scatter of gradients and all-gather of parameters: all but the own part of each.
  const int64_t bytes = size_of(Dtype::kF32) + size_of(rank.parameters().dtype());
  say("gradients and parameters", human_bytes(rank.parameters().flat_elements() * bytes * (ranks - 1) / ranks));
}

}  // namespace

void plan(const PlanOptions& options, Group& processes) {
  agree(processes, [&] {
    require(processes.size() == 1, "plan runs on one rank, for any number of others; start it without a launcher");
  });
  Config config = read_config(options.config, options.overrides);
  if (options.ranks > 0) {
    require(options.ranks % config.parallel.dp == 0, "--ranks=", options.ranks,
            " cannot be cut into parallel.dp = ", config.parallel.dp,
            " rings of one size; set --parallel.dp to a divisor");
    config.parallel.cp = options.ranks / config.parallel.dp;
  }
  cpu::choose_isa(config.parallel.isa);
  const std::unique_ptr<const Dataset> opened = open_dataset(config, config.data.tokenizer, processes);
  const Dataset& data = *opened;
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency()),
                planned = config.parallel.dp * config.parallel.cp;
  const int64_t threads = config.parallel.threads > 0 ? config.parallel.threads : std::max<int64_t>(1, cores / planned);
  cpu::set_num_threads(static_cast<int>(threads));  // each has scratch memory of its own
  PlannedRank rank(config, options.ranks_per_node, data);
  const int64_t S = config.data.sequence_length, ranks = config.parallel.dp * config.parallel.cp;
  const int64_t available = options.memory_gib > 0.0
                                ? static_cast<int64_t>(options.memory_gib * kGiB)
                                : available_memory() + data.memory_bytes();  // which is needed, too, and there already
  log::inform(fmt::format("{} rank{} = dp {} x cp {}, {} placement; {} sequences of {} tokens per step", ranks,
                          ranks == 1 ? "" : "s", config.parallel.dp, config.parallel.cp, config.parallel.placement,
                          config.data.global_batch, S));
  say_memory(rank, available);
  log::inform("work");
  say("parameters", fmt::format("{:.2f} M", static_cast<double>(rank.parameters().num_elements()) / 1e6));
  const double flops = static_cast<double>(config.data.global_batch) *
                       rank.model().flops_per_sequence(S, visible_pairs(causal_mask(S, S)));
  const char* most = rank.schedule() ? "" : " at most (one document a sequence)";
  say("per step", fmt::format("{:.4g} TFLOP{}", flops / 1e12, most));
  say("per step and rank", fmt::format("{:.4g} TFLOP{}", flops / 1e12 / static_cast<double>(ranks), most));
  say_traffic(config, options.ranks_per_node, rank);
  const int64_t longest = longest_that_fits(config, options.ranks_per_node, data, available);
  log::inform(fmt::format("longest sequence that fits into {} a rank: {}", human_bytes(available),
                          longest == 0 ? "none" : fmt::format("about {} tokens", longest)));
}

}  // namespace annulus
