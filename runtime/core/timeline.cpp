#include "runtime/core/timeline.h"

#include <array>
#include <chrono>
#include <cmath>

namespace annulus {

const char* name_of(Activity activity) {
  constexpr std::array<const char*, kNumActivities> kNames = {
      "step",          "micro-batch", "layer", "projections",    "mlp",       "pack",      "attention visit",
      "sum gradients", "wait",        "loss",  "reduce-scatter", "optimizer", "all-gather"};
  return kNames[static_cast<size_t>(activity)];
}

int64_t Timeline::now() {
  const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since_boot).count();
}

void Timeline::add(Span span, double seconds) {
  span.end = now();
  span.begin = span.end - std::llround(1e9 * seconds);
  put(span);
}

int64_t Timeline::put(Span span) {
  if (spans_.size() == spans_.capacity()) {
    ++num_dropped_;
    return -1;
  }
  if (span.micro_batch < 0) span.micro_batch = around_.micro_batch;
  if (span.layer < 0) span.layer = around_.layer;
  span.backward = span.backward || around_.backward;
  spans_.push_back(span);
  return static_cast<int64_t>(spans_.size()) - 1;
}

Mark::Mark(Timeline* timeline, const Span& span) : timeline_(timeline) {
  if (!timeline_) return;
  outer_ = timeline_->around_;
  index_ = timeline_->put(span);
  if (index_ < 0) return;
  Span& mine = timeline_->spans_[static_cast<size_t>(index_)];
  timeline_->around_ = mine;
  if (mine.begin == 0) mine.begin = Timeline::now();
}

void Mark::close(int64_t now) {
  if (!timeline_) return;
  if (index_ >= 0) timeline_->spans_[static_cast<size_t>(index_)].end = now;
  timeline_->around_ = outer_;
  timeline_ = nullptr;
}

}  // namespace annulus
