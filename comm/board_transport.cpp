#include "comm/board_transport.h"

#include <algorithm>

namespace annulus {

BoardTransport::BoardTransport(const char* name, Board board, int64_t bytes, NodeMap nodes, const Group& ring)
    : board_(std::move(board)),
      nodes_(std::move(nodes)),
      ring_(ring),
      name_(name),
      bytes_(bytes),
      sums_taken_(static_cast<size_t>(ring.size())) {}

std::byte* BoardTransport::begin(const PassPlan& plan) {
  plan_ = &plan;
  ++pass_;
  const int slot = slot_of_pass();
  Signal& done = board_.signals(ring_.rank()).done[static_cast<size_t>(slot)].signal;
  const uint32_t expected = readers_[static_cast<size_t>(slot)];
  int slowest_rank = ring_.rank();
  auto all_read = [&] {
    if (done.load() == expected) return true;
    slowest_rank = slowest();
    return false;
  };
  wait(all_read, "the last reads of this rank's own keys and values", slowest_rank, &done);
  // Every rank of another node reads a copy.
  const int elsewhere = ring_.size() - static_cast<int>(nodes_.ranks_beside(ring_.rank()).size());
  readers_[static_cast<size_t>(slot)] += static_cast<uint32_t>(plan.readers_of_own - elsewhere);
  return board_.block(ring_.rank(), slot);
}

void BoardTransport::publish() {
  board_.signals(ring_.rank()).published[static_cast<size_t>(slot_of_pass())].signal.store(pass_);
}

const std::byte* BoardTransport::block(int visit) {
  const int owner = plan_->visits[static_cast<size_t>(visit)].block;
  Signal& published = board_.signals(owner).published[static_cast<size_t>(slot_of_pass())].signal;
  if (owner != ring_.rank())
    wait([&] { return reached(published.load(), pass_); }, "the keys and values", owner, &published);
  return board_.block(owner, slot_of_pass());
}

void BoardTransport::release(int visit) {
  const int owner = plan_->visits[static_cast<size_t>(visit)].block;
  if (owner != ring_.rank()) board_.signals(owner).done[static_cast<size_t>(slot_of_pass())].signal.add(1);
}

std::byte* BoardTransport::gradient(int) {
  // The slot of the next sum is free once the sum three before it has been read.
  Signal& taken = board_.signals(ring_.rank()).taken.signal;
  const auto earlier = static_cast<uint32_t>(sums_handed_ + 1 - kGradientBuffers);
  wait([&] { return reached(taken.load(), earlier); }, "the reading of an earlier gradient sum", reader_of_sums(),
       &taken);
  return board_.gradient(ring_.rank(), sum_slot());
}

const std::byte* BoardTransport::arrived(int visit) {
  const Hop* hop = gradient_hop(false, visit);
  source_ = hop && here(hop->peer) ? hop->peer : -1;
  if (source_ < 0) return nullptr;
  Signal& handed = board_.signals(source_).handed.signal;
  const uint64_t mine = sums_taken_[static_cast<size_t>(source_)];
  wait([&] { return reached(handed.load(), static_cast<uint32_t>(mine + 1)); }, "the gradient sum", source_, &handed);
  return board_.gradient(source_, static_cast<int>(mine % kGradientBuffers));
}

void BoardTransport::hand_over(int visit) {
  if (source_ >= 0) {
    ++sums_taken_[static_cast<size_t>(source_)];
    board_.signals(source_).taken.signal.add(1);
  }
  source_ = -1;
  if (gradient_hop(true, visit + 1))
    board_.signals(ring_.rank()).handed.signal.store(static_cast<uint32_t>(++sums_handed_));
}

const Hop* BoardTransport::gradient_hop(bool send, int visit) const {
  for (const Hop& hop : plan_->hops)
    if (hop.payload == Payload::kGradient && hop.send == send && (send ? hop.starts : hop.needed) == visit) return &hop;
  return nullptr;
}

// For messages: the rank of this node that has begun the fewest passes, and the one that this rank's sums go to.
int BoardTransport::slowest() {
  auto passes = [&](int rank) {
    const auto& published = board_.signals(rank).published;
    return std::max(published[0].signal.load(), published[1].signal.load());
  };
  const std::vector<int>& ranks = nodes_.ranks_beside(ring_.rank());
  return *std::min_element(ranks.begin(), ranks.end(), [&](int a, int b) { return passes(a) < passes(b); });
}

int BoardTransport::reader_of_sums() const {
  for (const Hop& hop : plan_->hops)
    if (hop.payload == Payload::kGradient && hop.send) return hop.peer;
  return ring_.rank();
}

namespace {

NodeMap one_node(size_t ranks) { return NodeMap(std::vector<int>(ranks)); }

}  // namespace

std::unique_ptr<Transport> make_board_transport(const char* name, std::unique_ptr<BoardMemory> memory,
                                                const std::vector<TransportSizes>& sizes, const Group& ring) {
  const NodeMap all = one_node(sizes.size());
  Board board(std::move(memory), sizes, all, ring.rank());
  const int64_t bytes = board_bytes_of_rank(sizes[static_cast<size_t>(ring.rank())]);
  return std::make_unique<BoardTransport>(name, std::move(board), bytes, all, ring);
}

int64_t board_bytes(const std::vector<TransportSizes>& sizes) { return Board::bytes(sizes, one_node(sizes.size()), 0); }

int64_t board_bytes_of_rank(const TransportSizes& sizes) { return Board::bytes_of_rank(sizes, one_node(1), 0); }

}  // namespace annulus
