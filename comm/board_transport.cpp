#include "comm/board_transport.h"

#include <algorithm>
#include <array>

#include "runtime/core/error.h"

namespace annulus {
namespace {

constexpr int kBlockSlots = 2;
constexpr int64_t kCacheLine = 64, kPage = 4096;

// The signals of one rank, each on a cache line of its own.
struct alignas(kCacheLine) Line {
  Signal signal;
};
struct RankSignals {
  std::array<Line, kBlockSlots> published, done;  // the number of the pass; readers that are through, over all passes
  Line handed, taken;                             // gradient sums finished by this rank; read by the next
};

int64_t to_pages(int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// Where the parts of each rank lie on the board.
struct Layout {
  explicit Layout(const std::vector<TransportSizes>& sizes) {
    total = to_pages(static_cast<int64_t>(sizes.size() * sizeof(RankSignals)));
    for (const TransportSizes& size : sizes) {
      block_slot.push_back(to_pages(size.own_block));
      blocks.push_back(total);
      total += kBlockSlots * block_slot.back();
      gradient_slot.push_back(to_pages(size.largest_gradient));
      gradients.push_back(total);
      total += kGradientBuffers * gradient_slot.back();
    }
  }
  std::vector<int64_t> blocks, block_slot, gradients, gradient_slot;
  int64_t total = 0;
};

class BoardTransport : public Transport {
 public:
  BoardTransport(const char* name, std::unique_ptr<BoardMemory> memory, const std::vector<TransportSizes>& sizes,
                 const Group& ring)
      : name_(name),
        memory_(std::move(memory)),
        layout_(sizes),
        ring_(ring),
        bytes_(board_bytes_of_rank(sizes[static_cast<size_t>(ring.rank())])),
        sums_taken_(sizes.size()) {}

  const char* name() const override { return name_; }

  int64_t bytes() const override { return bytes_; }

  std::byte* begin(const PassPlan& plan) override {
    plan_ = &plan;
    ++pass_;
    const int slot = slot_of_pass();
    Signal& done = signals(ring_.rank()).done[static_cast<size_t>(slot)].signal;
    const uint32_t expected = readers_[static_cast<size_t>(slot)];
    int slowest_rank = ring_.rank();
    auto all_read = [&] {
      if (done.load() == expected) return true;
      slowest_rank = slowest();
      return false;
    };
    wait(all_read, "the last reads of this rank's own keys and values", slowest_rank, done);
    readers_[static_cast<size_t>(slot)] += static_cast<uint32_t>(plan.readers_of_own);
    return block_of(ring_.rank());
  }

  void publish() override { signals(ring_.rank()).published[static_cast<size_t>(slot_of_pass())].signal.store(pass_); }

  const std::byte* block(int visit) override {
    const PassVisit& v = plan_->visits[static_cast<size_t>(visit)];
    Signal& published = signals(v.block).published[static_cast<size_t>(slot_of_pass())].signal;
    if (v.block != ring_.rank())
      wait([&] { return reached(published.load(), pass_); }, "the keys and values", v.block, published);
    return block_of(v.block);
  }

  void release(int visit) override {
    const PassVisit& v = plan_->visits[static_cast<size_t>(visit)];
    if (v.block != ring_.rank()) signals(v.block).done[static_cast<size_t>(slot_of_pass())].signal.add(1);
  }

  std::byte* gradient(int) override {
    // The slot of the next sum is free once the sum three before it has been read.
    Signal& taken = signals(ring_.rank()).taken.signal;
    const auto earlier = static_cast<uint32_t>(sums_handed_ + 1 - kGradientBuffers);
    wait([&] { return reached(taken.load(), earlier); }, "the reading of an earlier gradient sum", reader_of_sums(),
         taken);
    return gradient_of(ring_.rank(), sums_handed_);
  }

  const std::byte* arrived(int visit) override {
    const Hop* hop = gradient_hop(false, visit);
    source_ = hop ? hop->peer : -1;
    if (!hop) return nullptr;
    Signal& handed = signals(source_).handed.signal;
    const uint64_t mine = sums_taken_[static_cast<size_t>(source_)];
    wait([&] { return reached(handed.load(), static_cast<uint32_t>(mine + 1)); }, "the gradient sum", source_, handed);
    return gradient_of(source_, mine);
  }

  void hand_over(int visit) override {
    if (source_ >= 0) {
      ++sums_taken_[static_cast<size_t>(source_)];
      signals(source_).taken.signal.add(1);
    }
    source_ = -1;
    if (gradient_hop(true, visit + 1)) signals(ring_.rank()).handed.signal.store(static_cast<uint32_t>(++sums_handed_));
  }

  void progress() override {}
  void end() override { plan_ = nullptr; }

 private:
  template <class Done>
  void wait(Done&& done, const char* what, const int& peer, Signal& signal) {
    int missing = ring_.world_rank(peer);
    auto all_done = [&] {
      const bool ok = done();
      missing = ring_.world_rank(peer);
      return ok;
    };
    count_wait(wait_for(all_done, what, missing, ring_.limits(), &signal), what, missing);
  }

  // The gradient that is sent under `visit`, or received for it.
  const Hop* gradient_hop(bool send, int visit) const {
    for (const Hop& hop : plan_->hops)
      if (hop.payload == Payload::kGradient && hop.send == send && (send ? hop.starts : hop.needed) == visit)
        return &hop;
    return nullptr;
  }

  int slot_of_pass() const { return static_cast<int>(pass_ % kBlockSlots); }

  // For messages: the rank that has begun the fewest passes, and the one that this rank's sums go to.
  int slowest() {
    auto passes = [&](int rank) {
      const auto& published = signals(rank).published;
      return std::max(published[0].signal.load(), published[1].signal.load());
    };
    int found = 0;
    for (int rank = 1; rank < ring_.size(); ++rank)
      if (passes(rank) < passes(found)) found = rank;
    return found;
  }
  int reader_of_sums() const {
    for (const Hop& hop : plan_->hops)
      if (hop.payload == Payload::kGradient && hop.send) return hop.peer;
    return ring_.rank();
  }

  RankSignals& signals(int rank) { return reinterpret_cast<RankSignals*>(memory_->data())[rank]; }
  std::byte* block_of(int rank) {
    const auto r = static_cast<size_t>(rank);
    return memory_->data() + layout_.blocks[r] + slot_of_pass() * layout_.block_slot[r];
  }
  std::byte* gradient_of(int rank, uint64_t sum) {
    const auto r = static_cast<size_t>(rank);
    return memory_->data() + layout_.gradients[r] +
           static_cast<int64_t>(sum % kGradientBuffers) * layout_.gradient_slot[r];
  }

  const char* name_;
  std::unique_ptr<BoardMemory> memory_;
  Layout layout_;
  const Group& ring_;
  int64_t bytes_;
  const PassPlan* plan_ = nullptr;
  uint32_t pass_ = 0;
  std::array<uint32_t, kBlockSlots> readers_{};  // remote visits of all passes so far, by slot
  uint64_t sums_handed_ = 0;
  std::vector<uint64_t> sums_taken_;  // from each rank
  int source_ = -1;                   // whose sum arrived() has returned
};

}  // namespace

int64_t board_bytes_of_rank(const TransportSizes& sizes) {
  return kBlockSlots * to_pages(sizes.own_block) + kGradientBuffers * to_pages(sizes.largest_gradient);
}

int64_t board_bytes(const std::vector<TransportSizes>& sizes) { return Layout(sizes).total; }

std::unique_ptr<Transport> make_board_transport(const char* name, std::unique_ptr<BoardMemory> memory,
                                                const std::vector<TransportSizes>& sizes, const Group& ring) {
  return std::make_unique<BoardTransport>(name, std::move(memory), sizes, ring);
}

}  // namespace annulus
