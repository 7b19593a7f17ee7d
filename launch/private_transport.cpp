#include "launch/private_transport.h"

#include <algorithm>

#include "comm/hop.h"
#include "kernels/elementwise.h"
#include "runtime/core/arena.h"

namespace annulus {
namespace {

constexpr int kBuffers = kGradientBuffers + 1;  // the last one stands for what has arrived

class PrivateTransport : public Transport {
 public:
  PrivateTransport(const std::vector<TensorView>& blocks, int64_t gradient_bytes) : blocks_(blocks) {
    for (const bool measure : {true, false}) {
      memory_.reset();
      if (!measure) memory_.commit();
      gradients_.clear();
      for (int i = 0; i < kBuffers; ++i)
        gradients_.push_back(memory_.take({gradient_bytes / static_cast<int64_t>(sizeof(float))}));
    }
    for (const TensorView& gradient : gradients_) fill_zero(gradient);
  }

  const char* name() const override { return "private copies"; }
  int64_t bytes() const override { return memory_.high_water(); }

  std::byte* begin(const PassPlan& plan) override {
    plan_ = &plan;
    // The own block is visited first forward, and last backward.
    return bytes_of(blocks_[static_cast<size_t>((plan.backward ? plan.visits.back() : plan.visits.front()).block)]);
  }
  void publish() override {}
  const std::byte* block(int visit) override { return bytes_of(blocks_[static_cast<size_t>(at(visit).block)]); }
  void release(int) override {}
  std::byte* gradient(int visit) override {
    return bytes_of(gradients_[static_cast<size_t>(at(visit).gradient_buffer)]);
  }
  const std::byte* arrived(int visit) override {
    const bool arrives = std::any_of(plan_->hops.begin(), plan_->hops.end(), [&](const Hop& hop) {
      return hop.payload == Payload::kGradient && !hop.send && hop.needed == visit;
    });
    return arrives ? bytes_of(gradients_.back()) : nullptr;
  }
  void hand_over(int) override {}
  void progress() override {}
  void end() override { plan_ = nullptr; }

 private:
  static std::byte* bytes_of(const TensorView& x) { return static_cast<std::byte*>(x.raw()); }
  const PassVisit& at(int visit) const { return plan_->visits[static_cast<size_t>(visit)]; }

  std::vector<TensorView> blocks_, gradients_;
  Arena memory_{"private gradients"};
  const PassPlan* plan_ = nullptr;
};

}  // namespace

std::unique_ptr<Transport> make_private_transport(const std::vector<TensorView>& blocks, int64_t gradient_bytes) {
  return std::make_unique<PrivateTransport>(blocks, gradient_bytes);
}

}  // namespace annulus
