#include "launch/bench_rings.h"

#include <cmath>

#include "comm/choose_transport.h"
#include "kernels/dtypes.h"
#include "launch/private_transport.h"
#include "model/ring_attention.h"
#include "runtime/core/rng.h"

namespace annulus {
namespace {

void fill_normal(const TensorView& x, const std::string& name) {
  const CounterRng rng(1, name);
  with_element(x.dtype(), [&](auto element) {
    using T = decltype(element);
    for (int64_t i = 0; i < x.numel(); ++i) {
      const auto value = static_cast<float>(rng.normal(static_cast<uint64_t>(i)));
      if constexpr (std::is_same_v<T, float>)
        x.data<T>()[i] = value;
      else
        x.data<T>()[i] = T::from(value);
    }
  });
}

Mask mask_of(const BenchProblem& problem, bool with_work) {
  return with_work ? causal_mask(problem.S, problem.S) : Mask{};
}

}  // namespace

BenchRing::BenchRing(const BenchProblem& n, Group& ring, const std::string& transport, bool with_work)
    : problem_(n),
      ring_(ring),
      placement_(zigzag_placement(n.S, ring.size())),
      schedule_(make_flat_ring(placement_, placement_, mask_of(n, with_work), {1, n.H, n.K, n.D, n.D, n.dtype},
                               ring.rank(), attention_query_block())) {
  const bool is_private = transport == "private";
  for (const bool measure : {true, false}) {
    memory_.reset();
    if (!measure) memory_.commit();
    take(memory_);
    copies_.clear();
    for (int owner = 0; is_private && owner < ring.size(); ++owner)
      copies_.push_back(memory_.take({kv_block_numel(schedule_.dims(owner))}, n.dtype));
  }
  fill();
  const TransportSizes sizes = transport_sizes(placement_, schedule_.heads, ring.rank());
  transport_ =
      is_private ? make_private_transport(copies_, sizes.largest_gradient) : choose_transport(transport, sizes, ring);
  // On tensors without memory, the passes only measure what they need.
  Arena shapes("shapes");
  take(shapes);
  pass_forward(nullptr);
  pass_backward(nullptr);
  scratch_.commit();
  memory_.reset();
  take(memory_);
}

void BenchRing::take(Arena& memory) {
  const auto& [S, H, K, D, dtype] = problem_;
  const int64_t T = placement_.num_tokens(ring_.rank());
  for (TensorView* x : {&q_, &dout_, &out_, &dq_}) *x = memory.take({1, T, H, D}, dtype);
  for (TensorView* x : {&k_, &v_, &dk_, &dv_}) *x = memory.take({1, T, K, D}, dtype);
  lse_ = memory.take({2, 1, H, T});
}

// Every rank can make the keys and values of any other.
void BenchRing::fill() {
  fill_normal(q_, "q");
  fill_normal(dout_, "dout");
  const auto fill_keys = [&](int owner) {
    fill_normal(k_, "k" + std::to_string(owner));
    fill_normal(v_, "v" + std::to_string(owner));
  };
  for (int owner = 0; owner < static_cast<int>(copies_.size()); ++owner) {
    const int64_t T = placement_.num_tokens(owner);
    fill_keys(owner);
    pack_kv(copies_[static_cast<size_t>(owner)], k_.narrow(1, 0, T), v_.narrow(1, 0, T));
  }
  fill_keys(ring_.rank());
}

void BenchRing::pass_forward(Transport* transport) {
  ring_attention_forward(out_, lse_, q_, k_, v_, schedule_, {1.0f / std::sqrt(static_cast<float>(problem_.D))},
                         transport, scratch_);
}

void BenchRing::pass_backward(Transport* transport) {
  ring_attention_prefetch(k_, v_, schedule_, transport);
  ring_attention_backward(dq_, dk_, dv_, q_, out_, lse_, dout_, schedule_,
                          {1.0f / std::sqrt(static_cast<float>(problem_.D))}, transport, scratch_);
}

void BenchRing::forward() { pass_forward(transport_.get()); }
void BenchRing::backward() { pass_backward(transport_.get()); }

double BenchRing::flops() const {
  int64_t pairs = 0;
  for (const AttentionTiles& tiles : schedule_.tiles) pairs += tiles.pairs;
  return 4.0 * static_cast<double>(pairs * problem_.H * problem_.D);
}

double BenchRing::flops_of_all() const {
  return 4.0 * static_cast<double>(schedule_.visible_pairs * problem_.H * problem_.D);
}

}  // namespace annulus
