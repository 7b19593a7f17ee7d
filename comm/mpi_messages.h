#pragma once
// Groups of MPI processes, for the transports that send messages of their own.
#include <mpi.h>

#include "comm/group.h"

namespace annulus {

/// All groups share MPI_COMM_WORLD and keep their messages apart by tags: making a communicator is a collective that
/// cannot be given a deadline.
class MpiGroup : public Group {
 public:
  /// What a message of a group belongs to: its exchanges, or one of the payloads of a ring; and who is ready for it.
  enum Channel : int { kExchange, kKeyValues, kGradients, kReadyForKeyValues, kReadyForGradients, kNumChannels };

  /// `number` tells groups with common ranks apart.
  MpiGroup(int rank, std::vector<int> world_ranks, int number, WaitLimits limits)
      : Group(rank, std::move(world_ranks), limits), number_(number) {}

  void exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives, const char* what) override;
  std::unique_ptr<Group> split(int colour) override;
  const char* kind() const override { return "mpi"; }

  /// Non-blocking, for ranks of this group; at most 2^31 - 1 bytes.
  MPI_Request send(const void* data, int64_t bytes, int peer, Channel channel) const;
  MPI_Request receive(void* data, int64_t bytes, int peer, Channel channel) const;

 private:
  int number_;
};

}  // namespace annulus
