#include "comm/mpi_group.h"

#include <algorithm>
#include <numeric>

#include "comm/mpi_messages.h"
#include "runtime/core/error.h"

namespace annulus {
namespace {

constexpr int64_t kLargestMessage = int64_t{1} << 30;  // MPI counts are int

int largest_tag() {
  void* value = nullptr;
  int found = 0;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &found);
  return found ? *static_cast<int*>(value) : 32767;  // what MPI promises
}

struct Message {
  MPI_Request request;
  int peer;
};

}  // namespace

MPI_Request MpiGroup::send(const void* data, int64_t bytes, int peer, Channel channel) const {
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, world_rank(peer), number_ * kNumChannels + channel, MPI_COMM_WORLD,
            &request);
  return request;
}

MPI_Request MpiGroup::receive(void* data, int64_t bytes, int peer, Channel channel) const {
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, world_rank(peer), number_ * kNumChannels + channel, MPI_COMM_WORLD,
            &request);
  return request;
}

void MpiGroup::exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives, const char* what) {
  std::vector<Message> messages;
  auto in_pieces = [&](const auto& m, auto&& start) {
    for (int64_t at = 0; at == 0 || at < m.bytes; at += kLargestMessage)
      messages.push_back({start(at, std::min(kLargestMessage, m.bytes - at)), m.peer});
  };
  for (const Incoming& m : receives)
    in_pieces(m, [&](int64_t at, int64_t bytes) {
      return receive(static_cast<char*>(m.data) + at, bytes, m.peer, kExchange);
    });
  for (const Outgoing& m : sends)
    in_pieces(m, [&](int64_t at, int64_t bytes) {
      return send(static_cast<const char*>(m.data) + at, bytes, m.peer, kExchange);
    });
  int missing = world_rank(rank_);  // whom the exchange waits for
  auto all_done = [&] {
    for (Message& m : messages) {
      int done = 0;
      MPI_Test(&m.request, &done, MPI_STATUS_IGNORE);
      missing = world_rank(m.peer);
      if (!done) return false;
    }
    return true;
  };
  wait_for(all_done, what, missing, limits_);
}

std::unique_ptr<Group> MpiGroup::split(int colour) {
  const std::vector<int> members = members_of(colour);
  const auto new_rank = static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());
  // Counts the groups that this process is in. Members may have counted differently: all take the largest number.
  static int last_number = 0;
  int number = 0;
  const std::vector<int64_t> counts = all_gather(int64_t{last_number}, "splitting a group");
  for (const int member : members) number = std::max(number, static_cast<int>(counts[static_cast<size_t>(member)]) + 1);
  invariant(number < largest_tag() / kNumChannels, "too many groups: ", number);
  last_number = number;
  return std::make_unique<MpiGroup>(new_rank, to_world(members), number, limits_);
}

std::unique_ptr<Group> make_mpi_world(std::vector<int> order) {
  int process = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &process);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (order.empty()) {
    order.resize(static_cast<size_t>(size));
    std::iota(order.begin(), order.end(), 0);
  }
  const auto rank = static_cast<int>(std::find(order.begin(), order.end(), process) - order.begin());
  invariant(static_cast<int>(order.size()) == size && rank < size, "an order of ", order.size(), " of ", size,
            " ranks");
  return std::make_unique<MpiGroup>(rank, std::move(order), 0, WaitLimits{});
}

}  // namespace annulus
