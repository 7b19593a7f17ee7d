#pragma once
// Messages between threads as ranks, for the transports that send some. Like a large message of MPI, a send is done
// only when its bytes have been taken, straight from where they lie: who changes them before that is found out.
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "comm/group.h"
#include "comm/node_transport.h"
#include "comm/thread_transport.h"
#include "comm/transport_sizes.h"
#include "runtime/core/error.h"
#include "tests/support/ring_case.h"

namespace annulus::test {

/// What all ranks of a ring have in common.
class PostOffice {
 public:
  struct Parcel {
    const std::byte* data;
    int64_t bytes;
    bool taken;
  };
  struct Channel {
    std::vector<std::unique_ptr<Parcel>> sent;
    size_t receives = 0;
  };
  std::mutex mutex;
  std::map<std::tuple<int, int, Payload>, Channel> channels;  // from, to
};

class ThreadTransfer : public Transfer {
 public:
  ThreadTransfer(PostOffice& office, int rank) : office_(office), rank_(rank) {}

  void start(const Hop& hop, std::byte* data) override {
    invariant(test(), "a transfer starts while the last one is under way");
    const std::lock_guard lock(office_.mutex);
    hop_ = hop;
    data_ = data;
    auto& channel = office_.channels[{hop.send ? rank_ : hop.peer, hop.send ? hop.peer : rank_, hop.payload}];
    channel_ = &channel;
    number_ = hop.send ? channel.sent.size() : channel.receives++;
    if (hop.send)
      channel.sent.push_back(std::make_unique<PostOffice::Parcel>(PostOffice::Parcel{data, hop.bytes, false}));
  }

  bool test() override {
    if (!channel_) return true;
    const std::lock_guard lock(office_.mutex);
    if (number_ >= channel_->sent.size()) return false;
    PostOffice::Parcel& parcel = *channel_->sent[number_];
    if (!hop_.send) {
      invariant(parcel.bytes == hop_.bytes, "a message of ", parcel.bytes, " bytes arrives where ", hop_.bytes,
                " should");
      std::memcpy(data_, parcel.data, static_cast<size_t>(parcel.bytes));
      parcel.taken = true;
    }
    if (parcel.taken) channel_ = nullptr;
    return !channel_;
  }

  int peer() const override { return hop_.peer; }

 private:
  PostOffice& office_;
  int rank_;
  Hop hop_ = {};
  std::byte* data_ = nullptr;
  PostOffice::Channel* channel_ = nullptr;
  size_t number_ = 0;
};

class ThreadWire : public Wire {
 public:
  ThreadWire(PostOffice& office, int rank) : office_(office), rank_(rank) {}
  std::unique_ptr<Transfer> make_transfer(int64_t) override { return std::make_unique<ThreadTransfer>(office_, rank_); }

 private:
  PostOffice& office_;
  int rank_;
};

/// Threads that are together on a node only where `node_of_rank` says so. For one ring: it has a post office of its
/// own.
inline MakeTransport threads_on_nodes(const std::vector<int>& node_of_rank) {
  return [nodes = NodeMap(node_of_rank), office = std::make_shared<PostOffice>()](const TransportSizes& sizes,
                                                                                  Group& ring) {
    const std::vector<TransportSizes> all = gather_sizes(sizes, ring);
    const auto node = ring.split(nodes.ranks_beside(ring.rank()).front());
    ThreadWire wire(*office, ring.rank());
    auto memory = share_pages(Board::bytes(all, nodes, ring.rank()), *node);
    return make_node_transport(std::move(memory), all, nodes, wire, ring);
  };
}

}  // namespace annulus::test
