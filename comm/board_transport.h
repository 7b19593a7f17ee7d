#pragma once
// The zero-copy protocol of ranks that share memory: everybody computes straight from the owner's packed block, and
// nobody writes another rank's memory. shared_transport (processes) and thread_transport (threads) only differ in whose
// memory it is; node_transport adds messages for what comes from ranks that do not share it.
//
// Passes are numbered. Pass n uses the owner's block slot n mod 2: the owner packs and stores published = n; a reader
// waits for that and adds 1 to done after its last read; the owner packs pass n + 2 when done has reached the number of
// remote visits that its plans gave the block. Gradient sums go through three slots per rank: handed counts the sums
// that a rank has finished, taken those that the next rank has read.
#include <array>
#include <memory>
#include <vector>

#include "comm/board.h"
#include "comm/group.h"
#include "comm/transport.h"

namespace annulus {

class BoardTransport : public Transport {
 public:
  /// `board` is that of this rank's node. Hops to ranks that are not on it are left out; `ring` must outlive this.
  BoardTransport(const char* name, Board board, int64_t bytes, NodeMap nodes, const Group& ring);

  const char* name() const override { return name_; }
  int64_t bytes() const override { return bytes_; }

  std::byte* begin(const PassPlan& plan) override;
  void publish() override;
  const std::byte* block(int visit) override;
  void release(int visit) override;
  std::byte* gradient(int visit) override;
  const std::byte* arrived(int visit) override;
  void hand_over(int visit) override;
  void progress() override {}
  void end() override { plan_ = nullptr; }

 protected:
  /// While there are messages that only progress() moves, a wait cannot sleep until another rank wakes it.
  virtual bool messages_under_way() const { return false; }

  /// Waits for `done` on behalf of `peer` (rank in the ring; done() may change it), and counts the time.
  template <class Done>
  void wait(Done&& done, const char* what, const int& peer, Signal* signal) {
    int missing = ring_.world_rank(peer);
    auto all_done = [&] {
      progress();
      const bool ok = done();
      missing = ring_.world_rank(peer);
      return ok;
    };
    const double seconds = wait_for(all_done, what, missing, ring_.limits(), messages_under_way() ? nullptr : signal);
    count_wait(seconds, what, missing);
  }

  /// The gradient that is sent under `visit`, or received for it; nullptr if there is none.
  const Hop* gradient_hop(bool send, int visit) const;
  bool here(int rank) const { return nodes_.together(rank, ring_.rank()); }
  int slot_of_pass() const { return ring_.size() == 1 ? 0 : static_cast<int>(pass_ % kBlockSlots); }
  /// This rank's slot of gradients that is being filled.
  int sum_slot() const { return static_cast<int>(sums_handed_ % kGradientBuffers); }

  Board board_;
  const NodeMap nodes_;
  const Group& ring_;
  const PassPlan* plan_ = nullptr;

 private:
  int slowest();
  int reader_of_sums() const;

  const char* name_;
  int64_t bytes_;
  uint32_t pass_ = 0;
  std::array<uint32_t, kBlockSlots> readers_{};  // remote visits of all passes so far, by slot
  uint64_t sums_handed_ = 0;
  std::vector<uint64_t> sums_taken_;  // from each rank
  int source_ = -1;                   // whose sum arrived() has returned
};

/// All ranks of `ring` share `memory`, which holds board_bytes().
std::unique_ptr<Transport> make_board_transport(const char* name, std::unique_ptr<BoardMemory> memory,
                                                const std::vector<TransportSizes>& sizes, const Group& ring);

/// Bytes of the whole board for a ring in which rank r has sizes[r].
int64_t board_bytes(const std::vector<TransportSizes>& sizes);

/// What one rank with these sizes holds of it.
int64_t board_bytes_of_rank(const TransportSizes& sizes);

}  // namespace annulus
