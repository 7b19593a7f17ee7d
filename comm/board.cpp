#include "comm/board.h"

#include <algorithm>

#include "comm/hop.h"
#include "comm/transport_sizes.h"

namespace annulus {
namespace {

int block_slots(const TransportSizes& sizes) { return sizes.alone ? 1 : kBlockSlots; }
int gradient_slots(const TransportSizes& sizes) { return sizes.alone ? 1 : kGradientBuffers; }

// Gradient sums come from the next rank of the ring.
bool lands_gradients(const NodeMap& nodes, int rank) { return !nodes.together(rank, (rank + 1) % nodes.num_ranks()); }

}  // namespace

Board::Layout::Layout(const std::vector<TransportSizes>& sizes, const NodeMap& nodes, int rank)
    : signals(sizes.size()),
      blocks(sizes.size()),
      block_slot(sizes.size()),
      gradients(sizes.size()),
      gradient_slot(sizes.size()),
      gradient_landings(sizes.size()) {
  const std::vector<int>& ranks = nodes.ranks_beside(rank);
  auto take = [&](int64_t count, int64_t bytes) {
    const int64_t begin = total;
    total += count * bytes;
    return begin;
  };
  for (const int r : ranks) signals[static_cast<size_t>(r)] = take(1, sizeof(RankSignals));
  const int num_landings = nodes.landing_slots(rank);
  landing_signals = take(num_landings, sizeof(LandingSignals));
  total = to_pages(total);
  for (const int number : ranks) {
    const auto r = static_cast<size_t>(number);
    block_slot[r] = to_pages(sizes[r].own_block);
    blocks[r] = take(block_slots(sizes[r]), block_slot[r]);
    gradient_slot[r] = to_pages(sizes[r].largest_gradient);
    gradients[r] = take(gradient_slots(sizes[r]), gradient_slot[r]);
    gradient_landings[r] = take(lands_gradients(nodes, number) ? 1 : 0, gradient_slot[r]);
  }
  for (const TransportSizes& size : sizes) landing_slot = std::max(landing_slot, to_pages(size.largest_block));
  landings = take(num_landings, landing_slot);
}

Board::Board(std::unique_ptr<BoardMemory> memory, const std::vector<TransportSizes>& sizes, const NodeMap& nodes,
             int rank)
    : memory_(std::move(memory)), layout_(sizes, nodes, rank) {}

int64_t Board::bytes(const std::vector<TransportSizes>& sizes, const NodeMap& nodes, int rank) {
  return Layout(sizes, nodes, rank).total;
}

int64_t Board::bytes_of_rank(const TransportSizes& sizes, const NodeMap& nodes, int rank) {
  const int gradients = gradient_slots(sizes) + (lands_gradients(nodes, rank) ? 1 : 0);
  return block_slots(sizes) * to_pages(sizes.own_block) + gradients * to_pages(sizes.largest_gradient) +
         nodes.landing_slots_of(rank) * to_pages(sizes.largest_block);
}

Board::RankSignals& Board::signals(int rank) {
  return *reinterpret_cast<RankSignals*>(memory_->data() + layout_.signals[static_cast<size_t>(rank)]);
}

std::byte* Board::block(int rank, int slot) {
  const auto r = static_cast<size_t>(rank);
  return memory_->data() + layout_.blocks[r] + slot * layout_.block_slot[r];
}

std::byte* Board::gradient(int rank, int slot) {
  const auto r = static_cast<size_t>(rank);
  return memory_->data() + layout_.gradients[r] + slot * layout_.gradient_slot[r];
}

std::byte* Board::gradient_landing(int rank) {
  return memory_->data() + layout_.gradient_landings[static_cast<size_t>(rank)];
}

Board::LandingSignals& Board::landing_signals(int slot) {
  const int64_t at = layout_.landing_signals + slot * static_cast<int64_t>(sizeof(LandingSignals));
  return *reinterpret_cast<LandingSignals*>(memory_->data() + at);
}

std::byte* Board::landing(int slot) { return memory_->data() + layout_.landings + slot * layout_.landing_slot; }

}  // namespace annulus
