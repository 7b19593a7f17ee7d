#pragma once
// What one rank did when, during one step that is looked at closely. All memory is taken before the step; while no step
// is recorded there is no Timeline, and a mark costs the test of a pointer.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace annulus {

/// What a span of time is spent on. Spans nest: a layer holds its projections, visits and waits.
enum class Activity : uint8_t {
  kStep,
  kMicroBatch,     // reading it, forward and backward
  kLayer,          // one block of the model, forward or backward
  kProjections,    // norm, queries, keys and values, rotation; the output projection
  kMlp,            // with its norm
  kPack,           // this rank's keys and values, for the others
  kVisit,          // attention to one block of keys and values
  kSumGradients,   // of a visited block: adding this rank's part, or taking the whole home
  kWait,           // for another rank, in the ring
  kLoss,           // LM head, its loss and its gradients
  kReduceScatter,  // gradients to their owners; waiting for slower ranks included
  kOptimizer,      // norm of the gradients, clipping, update of the owned rows
  kAllGather,      // of the parameters; waiting for slower ranks included
};
constexpr int kNumActivities = 13;

/// "attention visit"
const char* name_of(Activity activity);

struct Span {
  Activity activity = Activity::kStep;
  bool backward = false;             // it, or what it lies in
  int micro_batch = -1, layer = -1;  // those of what it lies in, unless given
  int visit = -1, block = -1;        // kVisit: its number in the pass; the owner's rank in the ring
  int peer = -1;                     // kWait: rank in the world that was waited for
  const char* what = "";             // kWait: for what of it; outlives the timeline
  int64_t pairs = 0;                 // kVisit: (query, key) pairs that see each other, of one head and sequence
  int64_t bytes = 0;                 // kVisit: of the block, in backward with its gradient
  int64_t begin = 0, end = 0;        // nanoseconds of this node's steady clock; a Mark fills in what is 0
};

class Timeline {
 public:
  /// Of at most so many spans: later ones are only counted.
  explicit Timeline(int64_t capacity) { spans_.reserve(static_cast<size_t>(capacity)); }

  static int64_t now();

  /// Spans in the order of their beginnings, what lies around others before them.
  std::span<const Span> spans() const { return spans_; }
  int64_t num_dropped() const { return num_dropped_; }

  /// A span that has ended: by default just now, after so many seconds.
  void add(Span span, double seconds);

 private:
  friend class Mark;
  int64_t put(Span span);  // its index; -1 where there is no room

  std::vector<Span> spans_;
  Span around_;  // what the open marks say: their micro-batch, layer and pass
  int64_t num_dropped_ = 0;
};

/// A span from here to the end of the scope; nothing where `timeline` is null.
class Mark {
 public:
  Mark(Timeline* timeline, const Span& span);
  Mark(Timeline* timeline, Activity activity) : Mark(timeline, Span{.activity = activity}) {}
  ~Mark() {
    if (timeline_) close(Timeline::now());
  }

  /// Ends it, at a time that was taken by the caller; for the first time only.
  void close(int64_t now);
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;

 private:
  Timeline* timeline_;
  Span outer_;
  int64_t index_ = -1;
};

}  // namespace annulus
