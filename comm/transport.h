#pragma once
// Executes the hops of a pass. One small class for every way of moving a block; the ring loop (model/ring_attention)
// does not know which one it talks to, and the bits of its results do not depend on it.
#include <cstddef>
#include <cstdint>
#include <string>

#include "comm/hop.h"
#include "runtime/core/timeline.h"

namespace annulus {

/// Bytes that the buffers of one rank must hold.
struct TransportSizes {
  int64_t own_block = 0;         // this rank's largest block of keys and values
  int64_t largest_block = 0;     // of any rank of the ring
  int64_t largest_gradient = 0;  // fp32 dK and dV of the largest block
  bool alone = false;            // a ring of one rank: nothing leaves or arrives
};

struct TransportCounters {
  int64_t bytes_sent_forward = 0, bytes_sent_backward = 0;  // payload really moved; 0 where blocks are read in place
  int64_t bytes_visited_forward = 0, bytes_visited_backward = 0;  // blocks of others visited with work
  double wait_seconds = 0.0;                                      // time this rank waited for a block or a gradient
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual const char* name() const = 0;
  /// For people: the name, and over what it runs where that is not plain.
  virtual std::string text() const { return name(); }

  /// Memory of this rank, in bytes; pages shared by several ranks count for the rank that owns them.
  virtual int64_t bytes() const = 0;

  /// Starts a pass and returns where this rank packs its own block (waiting until earlier readers are done with it).
  /// `plan` must outlive the pass. Collective in the sense that all ranks of the ring make the same passes in order.
  virtual std::byte* begin(const PassPlan& plan) = 0;
  /// The own block is packed: others may have it.
  virtual void publish() = 0;

  /// For visits 0, 1, ... in order: the visited block, once it is here. Starts the hops that run under this visit.
  virtual const std::byte* block(int visit) = 0;
  /// Nothing more is read from it.
  virtual void release(int visit) = 0;

  /// Backward: where the visit writes its dK, dV.
  virtual std::byte* gradient(int visit) = 0;
  /// The sum of all earlier visits to this block, once it is here; nullptr if there was none. Good until hand_over().
  virtual const std::byte* arrived(int visit) = 0;
  /// gradient(visit) now holds the sum: on to the next rank (the own block's sum stays and is only dropped here).
  virtual void hand_over(int visit) = 0;

  /// Moves messages along; cheap, called between query blocks by the thread that called begin().
  virtual void progress() = 0;
  virtual void end() = 0;

  /// Work was done on another rank's block of so many bytes, backward with its gradient.
  void count_visit(int64_t bytes, bool backward) {
    (backward ? counters_.bytes_visited_backward : counters_.bytes_visited_forward) += bytes;
  }
  const TransportCounters& counters() const { return counters_; }
  void reset_counters() { counters_ = {}; }

  /// Where this rank's passes are recorded, this transport's waits among them; null, as at first: nowhere.
  Timeline* timeline() const { return timeline_; }
  void record_in(Timeline* timeline) { timeline_ = timeline; }

 protected:
  /// Every wait of a pass ends here: `seconds` have just been spent on `what` of `peer`, a rank of the world.
  void count_wait(double seconds, const char* what, int peer) {
    counters_.wait_seconds += seconds;
    if (timeline_ && seconds > 0.0) timeline_->add({.activity = Activity::kWait, .peer = peer, .what = what}, seconds);
  }

  TransportCounters counters_;

 private:
  Timeline* timeline_ = nullptr;
};

}  // namespace annulus
