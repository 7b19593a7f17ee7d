#include "launch/rank_env.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "comm/agree.h"
#include "comm/mpi_group.h"
#include "comm/mpi_wire.h"
#include "comm/shared_memory.h"
#include "comm/thread_group.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"
#include "runtime/core/error.h"
#include "runtime/core/log.h"

namespace annulus {
namespace {

int number_in_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

// The number of processes the launcher says it has started; 0 where nothing says so.
int size_of_environment() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const int size = number_in_environment(name, 0)) return size;
  return 0;
}

}  // namespace

int rank_of_environment() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (std::getenv(name)) return number_in_environment(name, 0);
  return 0;
}

namespace {

// Whether srun has started these processes with nothing by which MPI could find them: MPI_Init would then end each of
// them with a page about how Open MPI was built.
bool started_without_pmix() {
  return number_in_environment("SLURM_STEP_NUM_TASKS", 0) > 1 && !std::getenv("OMPI_COMM_WORLD_SIZE") &&
         !std::getenv("PMIX_RANK");
}

[[noreturn]] void refuse_copies_of_rank_0(int count, const char* what_is_missing) {
  if (rank_of_environment() != 0) {  // the first process speaks for all, and must not be ended before it has
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    std::exit(static_cast<int>(ExitCode::kUsage));
  }
  fail(ExitCode::kUsage, "the launcher started ", count, " processes, but ", what_is_missing, ": they would be ", count,
       " copies of rank 0; under Slurm start them with srun --mpi=pmix, otherwise with launch/run.sh");
}

std::string machine() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace

Processes::Processes() {
  const int expected = size_of_environment();
  uses_mpi_ = expected > 1 || std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  if (!uses_mpi_) {
    group_ = std::move(ThreadGroup::make(1).front());
    return;
  }
  if (started_without_pmix()) refuse_copies_of_rank_0(expected, "srun gave them no PMIx to find each other by");
  int provided = MPI_THREAD_SINGLE;
  send_over_tcp_without_asking();
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  group_ = make_mpi_world();
  log::set_rank(group_->rank(), group_->size());  // its number for people, whatever its place below
  if (group_->size() == 1 && expected > 1) {
    group_.reset();
    MPI_Finalize();
    refuse_copies_of_rank_0(expected, "MPI finds only this one");
  }
  // Ranks that share memory become neighbours, however the launcher has dealt them out: then rings stay inside nodes as
  // far as they can, and a ring over several nodes leaves each of them at one place.
  if (group_->size() > 1) group_ = make_mpi_world(find_nodes(*group_).ranks_by_node());
}

Processes::~Processes() {
  group_.reset();
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized && !finalized) MPI_Finalize();
}

void Processes::abort(int code) {
  if (uses_mpi_ && group_->size() > 1) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

void run_on_ranks(Group& processes, int in_process_ranks, const std::function<void(Group&)>& body) {
  if (in_process_ranks == 0) return body(processes);
  require_alike(ExitCode::kUsage, processes.size() == 1, "in_process_ranks = ", in_process_ranks,
                " makes ranks of threads, but ", processes.size(), " processes were started; leave out one of the two");
  run_as_threads(in_process_ranks, [&](Group& world) {
    log::set_rank(world.rank(), world.size());
    body(world);
  });
}

std::string NodeShare::text() const {
  return core_text(shares) + (bound ? "" : " (not bound to them: the system does not allow it)");
}

NodeShare share_of_node(Group& world, int threads) {
  const char* what = "the cores of every rank";
  const std::string node = machine();
  // A line per rank: its machine, and the numbers of the cores it may use.
  const std::string mine = fmt::format("{} {}\n", node, fmt::join(usable_cores(), " "));
  std::string everyone;
  for (const std::string& line : world.gather(mine, 0, what)) everyone += line;
  std::istringstream lines(world.broadcast(everyone, 0, what));
  std::vector<std::vector<int>> allowed;
  NodeShare share;
  std::string line;
  for (int rank = 0; std::getline(lines, line); ++rank) {
    std::istringstream words(line.substr(node.size()));
    if (line.compare(0, node.size(), node) != 0) continue;
    if (rank == world.rank()) share.place = static_cast<int>(allowed.size());
    allowed.emplace_back(std::istream_iterator<int>(words), std::istream_iterator<int>());
  }
  share.shares = share_cores(allowed, threads);
  share.ranks_per_node = static_cast<int>(allowed.size());
  const CoreShare& mine_of_all = share.shares[static_cast<size_t>(share.place)];
  share.threads = mine_of_all.threads;
  share.bound = cpu::set_team(mine_of_all.threads, mine_of_all.cores);
  return share;
}

double measure_peak_flops(Group& world, const NodeShare& share, Dtype dtype) {
  constexpr double kSeconds = 0.1;  // for each vector width
  double gflops = world.rank() == 0 ? cpu::measure_peak_gflops(kSeconds, dtype) : 0.0;
  world.broadcast(&gflops, sizeof gflops, 0, "the measured peak");
  const int busy = std::min(num_cores(share.shares), num_threads(share.shares));
  return 1e9 * gflops * world.sum(static_cast<double>(busy) / share.ranks_per_node, "the cores in use");
}

}  // namespace annulus
