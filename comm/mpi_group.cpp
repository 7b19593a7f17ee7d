#include "comm/mpi_group.h"

#include <algorithm>
#include <numeric>

#include "comm/mpi_communicator.h"
#include "runtime/core/error.h"

namespace annulus {
namespace {

constexpr int64_t kLargestMessage = int64_t{1} << 30;  // MPI counts are int
constexpr int kTag = 1;

}  // namespace

MpiGroup::MpiGroup(MPI_Comm communicator, int rank, std::vector<int> world_ranks, WaitLimits limits)
    : Group(rank, std::move(world_ranks), limits), communicator_(communicator) {}

MpiGroup::~MpiGroup() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized) MPI_Comm_free(&communicator_);
}

void MpiGroup::exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives, const char* what) {
  std::vector<MPI_Request> requests;
  auto in_pieces = [](int64_t bytes, auto&& start) {
    for (int64_t at = 0; at == 0 || at < bytes; at += kLargestMessage)
      start(at, static_cast<int>(std::min(kLargestMessage, bytes - at)));
  };
  for (const Incoming& m : receives)
    in_pieces(m.bytes, [&](int64_t at, int count) {
      requests.push_back(MPI_REQUEST_NULL);
      MPI_Irecv(static_cast<char*>(m.data) + at, count, MPI_BYTE, m.peer, kTag, communicator_, &requests.back());
    });
  for (const Outgoing& m : sends)
    in_pieces(m.bytes, [&](int64_t at, int count) {
      requests.push_back(MPI_REQUEST_NULL);
      MPI_Isend(static_cast<const char*>(m.data) + at, count, MPI_BYTE, m.peer, kTag, communicator_, &requests.back());
    });
  auto all_done = [&] {
    int flag = 0;
    MPI_Testall(static_cast<int>(requests.size()), requests.data(), &flag, MPI_STATUSES_IGNORE);
    return flag != 0;
  };
  const int peer = !receives.empty() ? receives[0].peer : !sends.empty() ? sends[0].peer : rank_;
  wait_for(all_done, what, world_rank(peer), limits_);
}

// MPI_Comm_split cannot be given a deadline; members_of() has just heard from every rank, so that it finds all of them.
std::unique_ptr<Group> MpiGroup::split(int colour) {
  const std::vector<int> members = members_of(colour);
  const auto new_rank = static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());
  MPI_Comm part = MPI_COMM_NULL;
  MPI_Comm_split(communicator_, colour, rank_, &part);
  return std::make_unique<MpiGroup>(part, new_rank, to_world(members), limits_);
}

std::unique_ptr<Group> make_mpi_world() {
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  std::vector<int> world(static_cast<size_t>(size));
  std::iota(world.begin(), world.end(), 0);
  MPI_Comm copy = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &copy);
  return std::make_unique<MpiGroup>(copy, rank, std::move(world), WaitLimits{});
}

}  // namespace annulus
