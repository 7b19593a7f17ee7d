#pragma once
// The communicator behind a group, for the transports that send messages of their own.
#include <mpi.h>

#include "comm/group.h"

namespace annulus {

class MpiGroup : public Group {
 public:
  /// Owns `communicator`.
  MpiGroup(MPI_Comm communicator, int rank, std::vector<int> world_ranks, WaitLimits limits);
  ~MpiGroup() override;

  void exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives, const char* what) override;
  std::unique_ptr<Group> split(int colour) override;
  const char* kind() const override { return "mpi"; }

  MPI_Comm communicator() const { return communicator_; }

 private:
  MPI_Comm communicator_;
};

}  // namespace annulus
