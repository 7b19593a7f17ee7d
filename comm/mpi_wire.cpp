#include "comm/mpi_wire.h"

#include <algorithm>
#include <vector>

#include "comm/mpi_messages.h"

namespace annulus {
namespace {

constexpr int64_t kChunk = int64_t{1} << 20;  // large enough for bandwidth, small enough to start moving early

class MpiTransfer : public Transfer {
 public:
  MpiTransfer(const MpiGroup& ring, int64_t largest) : ring_(ring) {
    requests_.reserve(static_cast<size_t>(largest / kChunk + 1));
  }

  void start(const Hop& hop, std::byte* data) override {
    requests_.clear();
    peer_ = hop.peer;
    const auto channel = hop.payload == Payload::kKeyValue ? MpiGroup::kKeyValues : MpiGroup::kGradients;
    for (int64_t at = 0; at < hop.bytes; at += kChunk) {
      const int64_t bytes = std::min(kChunk, hop.bytes - at);
      requests_.push_back(hop.send ? ring_.send(data + at, bytes, hop.peer, channel)
                                   : ring_.receive(data + at, bytes, hop.peer, channel));
    }
  }

  bool test() override {
    if (requests_.empty()) return true;
    int done = 0;
    MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE);
    if (done) requests_.clear();
    return done != 0;
  }

  int peer() const override { return peer_; }

 private:
  const MpiGroup& ring_;
  std::vector<MPI_Request> requests_;
  int peer_ = 0;
};

class MpiWire : public Wire {
 public:
  explicit MpiWire(const MpiGroup& ring) : ring_(ring) {}
  std::unique_ptr<Transfer> make_transfer(int64_t largest) override {
    return std::make_unique<MpiTransfer>(ring_, largest);
  }

 private:
  const MpiGroup& ring_;
};

}  // namespace

std::unique_ptr<Wire> make_mpi_wire(const Group& ring) {
  const auto* processes = dynamic_cast<const MpiGroup*>(&ring);
  return processes ? std::make_unique<MpiWire>(*processes) : nullptr;
}

}  // namespace annulus
