#pragma once
// Where this process runs: alone, under mpirun or under Slurm; and how many threads each rank may use.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"
#include "comm/parallel_dims.h"
#include "runtime/config.h"
#include "runtime/cores.h"
#include "runtime/trainer.h"

namespace annulus {

/// The processes of this job: MPI where a launcher started them, one process otherwise. Initialises and finalises MPI.
class Processes {
 public:
  /// Throws UserError (64) where a launcher started several processes that do not find each other.
  Processes();
  ~Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  Group& group() { return *group_; }

  /// Ends every process of the job with `code`, at once. Does not return.
  [[noreturn]] void abort(int code);

 private:
  bool uses_mpi_ = false;
  std::unique_ptr<Group> group_;
};

/// This process's rank before MPI is initialised, as the launcher's environment has it; 0 where there is none.
int rank_of_environment();

/// Collective over `processes`: runs body on every rank. With `in_process_ranks` > 0 the ranks are threads of the one
/// process (64 where there are several processes).
void run_on_ranks(Group& processes, int in_process_ranks, const std::function<void(Group&)>& body);

/// What the ranks of this node have of it.
struct NodeShare {
  int ranks_per_node = 1;
  int threads = 1;                // of this rank
  std::vector<CoreShare> shares;  // of the ranks of this node, in their order
  int place = 0;                  // of this rank among them
  bool bound = true;              // false: the system does not let a rank choose its cores

  /// "2 ranks x 1 thread on cores 0 | 1"
  std::string text() const;
};

/// Collective: divides the cores of every node among its ranks (share_cores()), each of which has `threads` threads,
/// and binds the calling thread and the threads of its kernels to its share. `threads` = 0: as many as it has cores.
NodeShare share_of_node(Group& world, int threads);

/// Collective: peak flops of the cores that all ranks use, as cpu::measure_peak_gflops() has it. Rank 0 measures one
/// core while the others wait.
double measure_peak_flops(Group& world, const NodeShare& share, Dtype dtype);

}  // namespace annulus
