#include "comm/mpi_wire.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "comm/mpi_messages.h"

namespace annulus {
namespace {

constexpr int64_t kChunk = int64_t{1} << 20;  // large enough for bandwidth, small enough to start moving early
constexpr int64_t kHeader = 4096;             // more than Open MPI adds to a message

class MpiTransfer;

// Transfers to one rank in one channel that have not been asked for yet, in the order in which they were started: the
// first message that asks is for the first of them.
struct Unasked {
  int peer;
  MpiGroup::Channel channel;
  std::vector<MpiTransfer*> transfers;
};

// A rank asks for a hop once its receives are posted, and only then it is sent. So nothing arrives that has no place
// yet, and Open MPI may be told to send without asking by itself: its answers to large messages queue behind the data
// of the other direction, and the two directions of a link then take turns.
class MpiTransfer : public Transfer {
 public:
  MpiTransfer(const MpiGroup& ring, std::shared_ptr<std::vector<Unasked>> unasked, int64_t largest)
      : ring_(ring), unasked_(std::move(unasked)) {
    requests_.reserve(static_cast<size_t>(largest / kChunk + 2));
  }

  void start(const Hop& hop, std::byte* data) override {
    requests_.clear();
    peer_ = hop.peer;
    const bool gradient = hop.payload == Payload::kGradient;
    channel_ = gradient ? MpiGroup::kGradients : MpiGroup::kKeyValues;
    const auto ready = gradient ? MpiGroup::kReadyForGradients : MpiGroup::kReadyForKeyValues;
    if (hop.bytes == 0) return;
    if (hop.send) {
      data_ = data;
      bytes_ = hop.bytes;
      asked_ = ring_.receive(nullptr, 0, peer_, ready);
      queue().push_back(this);
    } else {
      in_chunks(data, hop.bytes, false);
      requests_.push_back(ring_.send(nullptr, 0, peer_, ready));
    }
  }

  bool test() override {
    if (data_ != nullptr && !send_when_asked()) return false;
    if (requests_.empty()) return true;
    int done = 0;
    MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE);
    if (done) requests_.clear();
    return done != 0;
  }

  int peer() const override { return peer_; }

 private:
  std::vector<MpiTransfer*>& queue() {
    for (Unasked& one : *unasked_)
      if (one.peer == peer_ && one.channel == channel_) return one.transfers;
    unasked_->push_back({peer_, channel_, {}});
    return unasked_->back().transfers;
  }

  // Those that were started before go first.
  bool send_when_asked() {
    std::vector<MpiTransfer*>& waiting = queue();
    while (waiting.front() != this)
      if (!waiting.front()->send_when_asked()) return false;
    int asked = 0;
    MPI_Test(&asked_, &asked, MPI_STATUS_IGNORE);
    if (!asked) return false;
    waiting.erase(waiting.begin());
    in_chunks(data_, bytes_, true);
    data_ = nullptr;
    return true;
  }

  void in_chunks(std::byte* data, int64_t total, bool send) {
    for (int64_t at = 0; at < total; at += kChunk) {
      const int64_t bytes = std::min(kChunk, total - at);
      requests_.push_back(send ? ring_.send(data + at, bytes, peer_, channel_)
                               : ring_.receive(data + at, bytes, peer_, channel_));
    }
  }

  const MpiGroup& ring_;
  std::shared_ptr<std::vector<Unasked>> unasked_;  // of all transfers of a wire
  std::vector<MPI_Request> requests_;
  MPI_Request asked_ = MPI_REQUEST_NULL;
  std::byte* data_ = nullptr;  // what has not been asked for yet
  int64_t bytes_ = 0;
  MpiGroup::Channel channel_ = MpiGroup::kKeyValues;
  int peer_ = 0;
};

class MpiWire : public Wire {
 public:
  explicit MpiWire(const MpiGroup& ring) : ring_(ring) {}
  std::unique_ptr<Transfer> make_transfer(int64_t largest) override {
    return std::make_unique<MpiTransfer>(ring_, unasked_, largest);
  }

 private:
  const MpiGroup& ring_;
  std::shared_ptr<std::vector<Unasked>> unasked_ = std::make_shared<std::vector<Unasked>>();
};

}  // namespace

void send_over_tcp_without_asking() {
  setenv("OMPI_MCA_btl_tcp_eager_limit", std::to_string(kChunk + kHeader).c_str(), 0);
}

std::unique_ptr<Wire> make_mpi_wire(const Group& ring) {
  const auto* processes = dynamic_cast<const MpiGroup*>(&ring);
  return processes ? std::make_unique<MpiWire>(*processes) : nullptr;
}

}  // namespace annulus
