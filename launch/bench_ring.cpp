// annulus bench ring: what the ring of the ranks it is started with costs, beside the same visits without
// communication, the same problem on one rank with all cores, on fewer ranks where ranks share cores, and the traffic
// alone.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "comm/agree.h"
#include "kernels/attention.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"
#include "launch/bench.h"
#include "launch/bench_rings.h"
#include "launch/output_path.h"
#include "launch/rank_env.h"
#include "runtime/core/log.h"
#include "runtime/new_file.h"

namespace annulus {
namespace {

constexpr double kShortestRun = 0.2;   // seconds; shorter passes are repeated within a run
constexpr double kBackwardWork = 2.5;  // of forward: five products for two
constexpr const char* kRing = "ring";
constexpr const char* kNoRing = "no communication";
constexpr const char* kTraffic = "traffic alone";
constexpr const char* kNeither = "neither";  // what is left of the traffic alone where nothing is sent

// Of one pass, in seconds; `cpu` and `wait` are sums over the ranks.
struct Cost {
  double wall = 0.0, cpu = 0.0, wait = 0.0;
};

// The first `ranks` ranks, each with its own `share` of the cores.
struct Contender {
  std::string name;
  int ranks;
  CoreShare share;
  std::unique_ptr<Group> group;
  std::unique_ptr<BenchRing> ring;  // nullptr on other ranks
  std::vector<Cost> forward, backward;

  const std::vector<Cost>& costs(bool of_backward) const { return of_backward ? backward : forward; }
};

class RingBenchmark {
 public:
  RingBenchmark(const BenchRingOptions& options, Group& world)
      : options_(options), world_(world), share_(share_of_node(world, options.threads)) {
    peak_ = measure_peak_flops(world, share_, bench_dtype(options));
    const int here = std::min(num_cores(share_.shares), num_threads(share_.shares));
    busy_cores_ = std::lround(world.sum(static_cast<double>(here) / share_.ranks_per_node, "the cores in use"));
  }

  void run();

 private:
  void add(const std::string& name, const std::string& transport, int ranks, const CoreShare& share, bool with_work);
  void add_contenders();
  Cost time(const Contender& contender, bool backward, int64_t passes);
  void measure();
  void report(bool backward);
  void report_model(bool backward, const Cost& ring);
  Cost median_cost(const Contender& contender, bool backward) const;
  const Contender* find(const std::string& name) const;

  const BenchRingOptions& options_;
  Group& world_;
  const NodeShare share_;
  double peak_ = 0.0;  // of all cores in use, flops per second
  int64_t busy_cores_ = 1;
  BenchProblem problem_ = {};
  std::vector<Contender> contenders_;
  nlohmann::json rows_ = nlohmann::json::array();
};

void RingBenchmark::add(const std::string& name, const std::string& transport, int ranks, const CoreShare& share,
                        bool with_work) {
  const bool takes_part = world_.rank() < ranks;
  Contender contender = {name, ranks, share, world_.split(takes_part ? 0 : 1), nullptr, {}, {}};
  contender.group->set_timeout(world_.limits().timeout_seconds);
  if (takes_part) {
    cpu::set_team(share.threads, share.cores);
    contender.ring = std::make_unique<BenchRing>(problem_, *contender.group, transport, with_work);
  }
  contenders_.push_back(std::move(contender));
}

void RingBenchmark::add_contenders() {
  contenders_.clear();
  const CoreShare& mine = share_.shares[static_cast<size_t>(share_.place)];
  const int ranks = world_.size(), threads = num_threads(share_.shares);
  add(kRing, options_.transport, ranks, mine, true);
  if (ranks == 1) return;
  add(kNoRing, "private", ranks, mine, true);
  const std::string transport = contenders_.front().ring->transport().name();
  if (transport == "mpi" || transport == "nodes") {
    add(kTraffic, options_.transport, ranks, mine, false);
    add(kNeither, "private", ranks, mine, false);
  }
  if (share_.ranks_per_node != ranks) return;
  std::vector<int> all;
  for (const CoreShare& share : share_.shares)
    for (const int core : share.cores)
      if (std::find(all.begin(), all.end(), core) == all.end()) all.push_back(core);
  const auto cores = static_cast<int>(all.size());
  if (threads <= cores)
    add(fmt::format("1 rank x {} threads", threads), "auto", 1, {all, threads}, true);
  else if (ranks > cores && problem_.S % (2 * cores) == 0)
    add(fmt::format("{} rank{}", cores, cores == 1 ? "" : "s"), "auto", cores,
        {{all[static_cast<size_t>(world_.rank() % cores)]}, 1}, true);
}

// Between two barriers, for the slowest rank; ranks that take no part sleep in the second.
Cost RingBenchmark::time(const Contender& contender, bool backward, int64_t passes) {
  BenchRing* ring = contender.ring.get();
  if (ring) cpu::set_team(contender.share.threads, contender.share.cores);
  world_.barrier("the other ranks to start");
  const double waited = ring ? ring->transport().counters().wait_seconds : 0.0;
  const double wall_begin = seconds_of(CLOCK_MONOTONIC), cpu_begin = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
  for (int64_t i = 0; ring && i < passes; ++i) backward ? ring->backward() : ring->forward();
  const double wall = seconds_of(CLOCK_MONOTONIC) - wall_begin;
  if (world_.is_of_threads()) world_.barrier("the CPU time of all threads");
  double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin;
  if (world_.is_of_threads()) cpu /= world_.size();
  const double wait = ring ? ring->transport().counters().wait_seconds - waited : 0.0;
  const auto n = static_cast<double>(passes);
  return {.wall = 1e-9 * static_cast<double>(world_.max(std::llround(1e9 * wall), "the slowest rank")) / n,
          .cpu = world_.sum(cpu, "the CPU time") / n,
          .wait = world_.sum(wait, "the waiting time") / n};
}

// One after the other, again and again: what disturbs a while disturbs all of them.
void RingBenchmark::measure() {
  std::vector<int64_t> passes;  // forward, then backward, of each contender
  for (const Contender& contender : contenders_)
    for (const bool backward : {false, true}) {
      time(contender, backward, 1);  // touches its memory
      const double once = time(contender, backward, 1).wall;
      passes.push_back(std::max<int64_t>(1, std::llround(kShortestRun / once)));
      world_.broadcast(&passes.back(), sizeof(int64_t), 0, "the passes of a run");
    }
  for (int64_t run = 0; run < options_.repeat; ++run) {
    const int64_t* number = passes.data();
    for (Contender& contender : contenders_) {
      contender.forward.push_back(time(contender, false, *number++));
      contender.backward.push_back(time(contender, true, *number++));
    }
  }
}

Cost RingBenchmark::median_cost(const Contender& contender, bool backward) const {
  std::vector<double> wall, cpu, wait;
  for (const Cost& cost : contender.costs(backward)) {
    wall.push_back(cost.wall);
    cpu.push_back(cost.cpu);
    wait.push_back(cost.wait);
  }
  return {median(wall), median(cpu), median(wait)};
}

const Contender* RingBenchmark::find(const std::string& name) const {
  for (const Contender& contender : contenders_)
    if (contender.name == name) return &contender;
  return nullptr;
}

void RingBenchmark::report(bool backward) {
  const Cost ring = median_cost(contenders_.front(), backward);
  const BenchRing* whole = contenders_.front().ring.get();
  const double flops = whole->flops_of_all() * (backward ? kBackwardWork : 1.0);
  const char* direction = backward ? "backward" : "forward";
  for (const Contender& contender : contenders_) {
    if (contender.name == kNeither) continue;
    const Cost cost = median_cost(contender, backward);
    const bool works = contender.name != kTraffic;
    const double of_peak = works ? flops / cost.wall / peak_ : 0.0, efficiency = cost.wall / ring.wall;
    // A rank that waits uses no core; ranks that share cores wait for those, too.
    const auto busy = static_cast<double>(busy_cores_);
    const bool contended = works && is_contended(cost.wall, busy, cost.cpu + cost.wait * share_.threads);
    log::inform(
        fmt::format("{:<9}{:>7}  {:<20}{:>11.6f}{}{:>11.6f}{:>7.1f} %{}{}", direction, problem_.S / world_.size(),
                    contender.name, cost.wall, works ? fmt::format("{:>8.1f} %", 100.0 * of_peak) : "         -",
                    cost.cpu, 100.0 * cost.wait / (cost.wall * contender.ranks),
                    &contender == &contenders_.front() || !works ? "" : fmt::format("{:>9.1f} %", 100.0 * efficiency),
                    contended ? "  contended, do not trust" : ""));
    rows_.push_back({{"direction", direction},
                     {"tokens_per_rank", problem_.S / world_.size()},
                     {"name", contender.name},
                     {"heads", problem_.H},
                     {"kv_heads", problem_.K},
                     {"width", problem_.D},
                     {"dtype", options_.dtype},
                     {"wall_seconds", cost.wall},
                     {"cpu_seconds", cost.cpu},
                     {"wait_seconds", cost.wait},
                     {"fraction", of_peak},
                     {"efficiency_of_ring", efficiency},
                     {"contended", contended}});
  }
  if (find(kTraffic)) report_model(backward, ring);
}

// With t the time of a visit, w that of a hop and u the CPU time that a hop takes from each rank: a visit that hides a
// hop can take no less than t, than w, or than t + u. In tokens n per rank, t grows with n^2 and w with n: w / t =
// n_min / n, and u / t = c n_min / n where c = u / w is the share of a core. A pass has a visit more than it has hops.
void RingBenchmark::report_model(bool backward, const Cost& ring) {
  const Cost traffic = median_cost(*find(kTraffic), backward), neither = median_cost(*find(kNeither), backward);
  const double work = median_cost(*find(kNoRing), backward).wall, visits = world_.size(), hops = visits - 1;
  const double taken = std::max(0.0, traffic.cpu - neither.cpu) / world_.size(), wire = traffic.wall - neither.wall;
  const double c = taken / wire, hidden = (work / visits) / (wire / hops);  // n / n_min
  const double model = std::min({1.0, hidden, 1.0 / (1.0 + c / hidden)}), efficiency = work / ring.wall;
  const TransportCounters& sent = find(kTraffic)->ring->transport().counters();
  const double bytes =
      static_cast<double>(world_.sum(backward ? sent.bytes_sent_backward : sent.bytes_sent_forward, "the bytes sent"));
  log::inform(
      fmt::format("         model {:.1f} % (n / n_min = {:.3f}, c = {:.2f}): the ring reaches {:.1f} %, {:.1f} % "
                  "of it",
                  100.0 * model, hidden, c, 100.0 * efficiency, 100.0 * efficiency / model));
  rows_.back().update({{"model", model}, {"of_model", efficiency / model}, {"c", c}, {"bytes_sent", bytes}});
}

void RingBenchmark::run() {
  const auto tokens = options_.tokens.empty() ? std::vector<int64_t>{128, 512, 2048} : options_.tokens;
  const int64_t P = world_.size();
  agree(world_, [&] {
    for (const int64_t T : tokens)
      require(T % 2 == 0, "--tokens=", T, " is odd; zigzag gives every rank two equal pieces of an even number");
    require_supported({1, 2, 2, options_.heads, options_.kv_heads, options_.width, options_.width}, "bench ring");
    if (world_.rank() == 0 && !options_.json.empty()) require_output_path(options_.json, "--json");
  });
  log::inform("cores: " + share_.text());
  for (const int64_t T : tokens) {
    problem_ = {T * P, options_.heads, options_.kv_heads, options_.width, bench_dtype(options_)};
    add_contenders();
    if (T == tokens.front()) {
      log::inform(fmt::format("peak {:.1f} GFLOP/s of {} core{}; attention kernels: {}; transport: {}", 1e-9 * peak_,
                              busy_cores_, busy_cores_ == 1 ? "" : "s", cpu::isa_kernels().name,
                              contenders_.front().ring->transport().text()));
      log::inform(fmt::format("causal, zigzag, H {}, K {}, D {}, {}; medians of {} runs that take turns", problem_.H,
                              problem_.K, problem_.D, options_.dtype, options_.repeat));
      log::inform(fmt::format("{:<9}{:>7}  {:<20}{:>11}{:>10}{:>11}{:>9}{:>11}", "", "tokens", "", "wall s", "of peak",
                              "CPU s", "waiting", "the ring"));
    }
    measure();
    for (const bool backward : {false, true}) report(backward);
  }
  agree(world_, [&] {
    if (world_.rank() == 0 && !options_.json.empty())
      write_file(options_.json, nlohmann::json{{"peak_gflops", 1e-9 * peak_}, {"rows", rows_}}.dump(1) + "\n");
  });
}

}  // namespace

void bench_ring(const BenchRingOptions& options, Group& processes) {
  run_on_ranks(processes, options.in_process_ranks, [&](Group& world) {
    agree(world, [&] {
      bench_dtype(options);
      cpu::choose_isa(options.isa);
    });
    RingBenchmark(options, world).run();
  });
}

}  // namespace annulus
