#pragma once
// Where this process runs: alone, under mpirun or under Slurm; and how many threads each rank may use.
#include <functional>
#include <memory>

#include "comm/group.h"
#include "comm/parallel_dims.h"
#include "runtime/config.h"
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

struct NodeShare {
  int ranks_per_node = 1;
  int cores_per_node = 1;  // that the ranks of this node may use, all together
  int threads = 1;         // of this rank
};

/// Collective: counts the ranks and cores of this node. `threads` = 0: the cores this rank may use, divided by the
/// ranks that share them, at least 1. Sets the kernel threads of the calling thread.
NodeShare share_of_node(Group& world, int threads);

/// Collective: peak flops of the cores that all ranks use. Rank 0 measures one core while the others wait.
double measure_peak_flops(Group& world, const NodeShare& share);

}  // namespace annulus
