#include "comm/mpi_transport.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>

#include "comm/agree.h"
#include "comm/mpi_wire.h"
#include "comm/transport_sizes.h"
#include "runtime/core/error.h"

namespace annulus {
namespace {

// One buffer: a hop may leave from it, or arrive in it, but not both at once.
struct Buffer {
  std::byte* data = nullptr;
  std::unique_ptr<Transfer> transfer;
};

class MpiTransport : public Transport {
 public:
  MpiTransport(const TransportSizes& sizes, Wire& wire, const Group& ring) : ring_(ring) {
    const int64_t block = to_pages(sizes.largest_block), gradient = to_pages(sizes.largest_gradient);
    bytes_ = mpi_transport_bytes(sizes);
    void* memory = mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(ExitCode::kMemory, memory != MAP_FAILED, "no memory for the ring's buffers: ", bytes_, " bytes");
    memory_ = static_cast<std::byte*>(memory);
    std::byte* at = memory_;
    for (Buffer& buffer : blocks_) {
      buffer.data = at;
      buffer.transfer = wire.make_transfer(block);
      if (!sizes.alone) at += block;
    }
    if (sizes.alone) at += block;  // nothing arrives: all buffers are one
    for (Buffer& buffer : gradients_) {
      buffer.data = at;
      buffer.transfer = wire.make_transfer(gradient);
      if (!sizes.alone) at += gradient;
    }
  }

  ~MpiTransport() override { munmap(memory_, static_cast<size_t>(bytes_)); }

  const char* name() const override { return "mpi"; }
  int64_t bytes() const override { return bytes_; }

  std::byte* begin(const PassPlan& plan) override {
    plan_ = &plan;
    return blocks_[0].data;
  }

  void publish() override { start_hops(-1, Payload::kKeyValue); }

  const std::byte* block(int visit) override {
    const PassVisit& v = plan_->visits[static_cast<size_t>(visit)];
    Buffer& buffer = blocks_[static_cast<size_t>(v.buffer)];
    if (v.block != ring_.rank()) finish(buffer, "the keys and values");
    start_hops(visit, Payload::kKeyValue);
    return buffer.data;
  }

  void release(int) override {}

  // Its last sum has left by now, unless the hop in between that would have waited for it was empty.
  std::byte* gradient(int visit) override {
    Buffer& buffer = gradients_[static_cast<size_t>(plan_->visits[static_cast<size_t>(visit)].gradient_buffer)];
    finish(buffer, "an earlier gradient sum from the same buffer");
    return buffer.data;
  }

  const std::byte* arrived(int visit) override {
    for (const Hop& hop : plan_->hops) {
      if (hop.send || hop.payload != Payload::kGradient || hop.needed != visit) continue;
      Buffer& buffer = gradients_[static_cast<size_t>(hop.buffer)];
      finish(buffer, "the gradient sum");
      return buffer.data;
    }
    return nullptr;
  }

  void hand_over(int visit) override { start_hops(visit + 1, Payload::kGradient); }

  void progress() override {
    for (Buffer& buffer : blocks_) buffer.transfer->test();
    for (Buffer& buffer : gradients_) buffer.transfer->test();
  }

  void end() override {
    for (Buffer& buffer : blocks_) finish(buffer, "the last keys and values");
    for (Buffer& buffer : gradients_) finish(buffer, "the last gradient sum");
    plan_ = nullptr;
  }

 private:
  // Blocks start with their visit, gradient sums when the one before it hands over what it has made. Receives first:
  // they ask for what is sent here, and what leaves would be in the way of that.
  void start_hops(int visit, Payload payload) {
    for (const bool send : {false, true})
      for (const Hop& hop : plan_->hops)
        if (hop.send == send && hop.starts == visit && hop.payload == payload) start(hop);
  }

  void start(const Hop& hop) {
    Buffer& buffer = (hop.payload == Payload::kKeyValue ? blocks_ : gradients_)[static_cast<size_t>(hop.buffer)];
    finish(buffer, "an earlier message from the same buffer");
    buffer.transfer->start(hop, buffer.data);
    if (hop.send) (plan_->backward ? counters_.bytes_sent_backward : counters_.bytes_sent_forward) += hop.bytes;
  }

  void finish(Buffer& buffer, const char* what) {
    Transfer& transfer = *buffer.transfer;
    auto done = [&] {
      progress();  // while one message is waited for, the others move too
      return transfer.test();
    };
    const int peer = ring_.world_rank(transfer.peer());
    count_wait(wait_for(done, what, peer, ring_.limits()), what, peer);
  }

  const Group& ring_;
  std::byte* memory_ = nullptr;
  int64_t bytes_ = 0;
  std::array<Buffer, kKeyValueBuffers> blocks_;
  std::array<Buffer, kGradientBuffers> gradients_;
  const PassPlan* plan_ = nullptr;
};

static_assert(kKeyValueBuffers == kGradientBuffers, "start() takes either array");

}  // namespace

int64_t mpi_transport_bytes(const TransportSizes& sizes) {
  const int64_t blocks = sizes.alone ? 1 : kKeyValueBuffers, gradients = sizes.alone ? 1 : kGradientBuffers;
  return std::max(kPage, blocks * to_pages(sizes.largest_block) + gradients * to_pages(sizes.largest_gradient));
}

std::unique_ptr<Transport> make_mpi_transport(const TransportSizes& sizes, Group& ring) {
  const std::unique_ptr<Wire> wire = make_mpi_wire(ring);
  invariant(wire != nullptr, "messages between ranks that are threads");
  return std::make_unique<MpiTransport>(sizes, *wire, ring);
}

}  // namespace annulus
