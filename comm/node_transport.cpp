#include "comm/node_transport.h"

#include <algorithm>
#include <string>

namespace annulus {
namespace {

// Keys and values that are on their way here.
struct Arriving {
  std::unique_ptr<Transfer> transfer;
  bool active = false;
  int slot = 0;
  uint32_t number = 0;  // what `filled` of the slot says once it is here
};

// Keys and values that leave, from memory of which the owner must hear when nobody reads it any more.
struct Leaving {
  std::unique_ptr<Transfer> transfer;
  bool active = false, released = false;
  int visit = -1;  // in which this rank also computes on them; -1 for the own block before the first visit
};

class NodeTransport : public BoardTransport {
 public:
  NodeTransport(Board board, const std::vector<TransportSizes>& sizes, const NodeMap& nodes, Wire& wire,
                const Group& ring)
      : BoardTransport("nodes", std::move(board),
                       node_transport_bytes(sizes[static_cast<size_t>(ring.rank())], nodes, ring.rank()), nodes, ring),
        text_("nodes (" + nodes.text() + ")"),
        fills_(static_cast<size_t>(nodes.landing_slots(ring.rank()))) {
    const TransportSizes& mine = sizes[static_cast<size_t>(ring.rank())];
    for (Arriving& a : arriving_) a.transfer = wire.make_transfer(mine.largest_block);
    for (Leaving& l : leaving_) l.transfer = wire.make_transfer(mine.largest_block);
    arriving_sum_ = wire.make_transfer(mine.largest_gradient);
    for (auto& transfer : leaving_sums_) transfer = wire.make_transfer(mine.largest_gradient);
  }

  std::string text() const override { return text_; }

  std::byte* begin(const PassPlan& plan) override {
    next_arrival_ = 0;
    return BoardTransport::begin(plan);
  }

  void publish() override {
    BoardTransport::publish();
    progress();  // posts the first receives
    start_sends(-1);
  }

  const std::byte* block(int visit) override {
    const int owner = plan_->visits[static_cast<size_t>(visit)].block;
    const std::byte* data = here(owner) ? BoardTransport::block(visit) : landed(owner);
    start_sends(visit);
    return data;
  }

  void release(int visit) override {
    for (Leaving& l : leaving_)
      if (l.active && l.visit == visit) {
        l.released = true;
        return;
      }
    no_longer_read(visit);
  }

  const std::byte* arrived(int visit) override {
    const Hop* sum = gradient_hop(false, visit);
    const std::byte* in_place = BoardTransport::arrived(visit);
    if (!sum || here(sum->peer)) return in_place;
    wait([&] { return arriving_sum_->test(); }, "the gradient sum", sum->peer, nullptr);
    return board_.gradient_landing(ring_.rank());
  }

  // The next sum is asked for before this one leaves, which would be in the way.
  void hand_over(int visit) override {
    const Hop* next = gradient_hop(false, visit + 1);
    if (next && !here(next->peer)) arriving_sum_->start(*next, board_.gradient_landing(ring_.rank()));
    const Hop* sum = gradient_hop(true, visit + 1);
    if (sum && !here(sum->peer)) {
      auto room = [&] { return sums_leaving() < kSumsAtOnce; };
      wait(room, "the sending of an earlier gradient sum", sum->peer, nullptr);
      leaving_sums_[sums_started_++ % kSumsAtOnce]->start(*sum, board_.gradient(ring_.rank(), sum_slot()));
      count_sent(*sum);
    }
    BoardTransport::hand_over(visit);
  }

  void progress() override {
    if (!plan_) return;
    receive_blocks();
    for (Leaving& l : leaving_) finish(l);
    arriving_sum_->test();
    while (sums_leaving() > 0 && leaving_sums_[sums_left_ % kSumsAtOnce]->test()) {
      ++sums_left_;
      board_.signals(ring_.rank()).taken.signal.add(1);
    }
  }

  // Every rank of the node has seen every block by then, or will: the next pass counts on from there.
  void end() override {
    for (Leaving& l : leaving_)
      wait([&] { return !l.active; }, "the sending of keys and values", l.transfer->peer(), nullptr);
    auto all_left = [&] { return sums_leaving() == 0; };
    wait(all_left, "the sending of the last gradient sum", (ring_.rank() + ring_.size() - 1) % ring_.size(), nullptr);
    for (int owner = 0; owner < ring_.size(); ++owner)
      if (!here(owner)) ++fills_[static_cast<size_t>(landing_of(owner).slot)];
    BoardTransport::end();
  }

 protected:
  bool messages_under_way() const override {
    const auto active = [](const auto& message) { return message.active; };
    return next_arrival_ < nodes_.num_entering(ring_.rank(), plan_->backward) || sums_leaving() > 0 ||
           std::any_of(arriving_.begin(), arriving_.end(), active) ||
           std::any_of(leaving_.begin(), leaving_.end(), active);
  }

 private:
  static constexpr size_t kSumsAtOnce = kGradientBuffers - 1;  // the third is being computed

  NodeMap::Landing landing_of(int owner) const { return nodes_.landing(owner, ring_.rank(), plan_->backward); }
  // Blocks that were in a landing slot before this one, over all passes.
  uint32_t earlier(const NodeMap::Landing& l) const {
    return fills_[static_cast<size_t>(l.slot)] + static_cast<uint32_t>(l.earlier);
  }
  uint64_t sums_leaving() const { return sums_started_ - sums_left_; }

  const Hop* block_received(int owner) const {
    for (const Hop& hop : plan_->hops)
      if (hop.payload == Payload::kKeyValue && !hop.send && hop.block == owner) return &hop;
    return nullptr;
  }

  // The block of a rank of another node, once it is on this one.
  const std::byte* landed(int owner) {
    const NodeMap::Landing l = landing_of(owner);
    Signal& filled = board_.landing_signals(l.slot).filled.signal;
    const Hop* hop = block_received(owner);
    const int from = l.receiver == ring_.rank() && hop ? hop->peer : l.receiver;
    wait([&] { return reached(filled.load(), earlier(l) + 1); }, "the keys and values", from, &filled);
    return board_.landing(l.slot);
  }

  // Sends what `visit` lets go to another node for the first time.
  void start_sends(int visit) {
    for (const Hop& hop : plan_->hops) {
      if (!hop.send || hop.payload != Payload::kKeyValue || hop.starts != visit) continue;
      if (!nodes_.enters(hop.block, hop.peer, plan_->backward)) continue;
      Leaving& l = leaving_[next_leaving_++ % leaving_.size()];
      wait([&] { return !l.active; }, "the sending of earlier keys and values", hop.peer, nullptr);
      std::byte* data =
          here(hop.block) ? board_.block(hop.block, slot_of_pass()) : board_.landing(landing_of(hop.block).slot);
      l.transfer->start(hop, data);
      l.active = true;
      l.released = false;
      l.visit = visit;
      count_sent(hop);
    }
  }

  void count_sent(const Hop& hop) {
    (plan_->backward ? counters_.bytes_sent_backward : counters_.bytes_sent_forward) += hop.bytes;
  }

  void finish(Leaving& l) {
    if (!l.active || !l.transfer->test()) return;
    l.active = false;
    if (l.released) no_longer_read(l.visit);
  }

  // This rank neither computes on the block of the visit nor sends it any more.
  void no_longer_read(int visit) {
    const int owner = plan_->visits[static_cast<size_t>(visit)].block;
    if (here(owner))
      BoardTransport::release(visit);
    else
      board_.landing_signals(landing_of(owner).slot).done.signal.add(1);
  }

  // Takes what has arrived, and asks for the next blocks that enter here, in order, as slots become free.
  void receive_blocks() {
    for (Arriving& a : arriving_) {
      if (!a.active || !a.transfer->test()) continue;
      a.active = false;
      board_.landing_signals(a.slot).filled.signal.store(a.number);
    }
    const int entering = nodes_.num_entering(ring_.rank(), plan_->backward);
    const auto readers = static_cast<uint32_t>(nodes_.ranks_beside(ring_.rank()).size());
    while (next_arrival_ < entering) {
      Arriving& a = arriving_[static_cast<size_t>(next_arrival_) % arriving_.size()];
      const int owner = nodes_.entering(next_arrival_, ring_.rank(), plan_->backward);
      const NodeMap::Landing l = landing_of(owner);
      Board::LandingSignals& signals = board_.landing_signals(l.slot);
      if (a.active || signals.done.signal.load() != readers * earlier(l)) return;
      a.slot = l.slot;
      a.number = earlier(l) + 1;
      const Hop* hop = block_received(owner);
      if (hop)
        a.transfer->start(*hop, board_.landing(l.slot));
      else  // a block of no tokens
        signals.filled.signal.store(a.number);
      a.active = hop != nullptr;
      ++next_arrival_;
    }
  }

  std::string text_;
  std::array<Arriving, 2> arriving_;
  std::array<Leaving, 2> leaving_;
  std::unique_ptr<Transfer> arriving_sum_;
  std::array<std::unique_ptr<Transfer>, kSumsAtOnce> leaving_sums_;
  std::vector<uint32_t> fills_;  // by landing slot, in all passes that have ended
  int next_arrival_ = 0;         // of the blocks that enter with this rank in this pass
  size_t next_leaving_ = 0;
  uint64_t sums_started_ = 0, sums_left_ = 0;
};

}  // namespace

int64_t node_transport_bytes(const TransportSizes& sizes, const NodeMap& nodes, int rank) {
  return Board::bytes_of_rank(sizes, nodes, rank);
}

std::unique_ptr<Transport> make_node_transport(std::unique_ptr<BoardMemory> memory,
                                               const std::vector<TransportSizes>& sizes, const NodeMap& nodes,
                                               Wire& wire, const Group& ring) {
  return std::make_unique<NodeTransport>(Board(std::move(memory), sizes, nodes, ring.rank()), sizes, nodes, wire, ring);
}

}  // namespace annulus
