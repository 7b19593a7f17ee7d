#pragma once
// Several layers over a ring of threads, with ranks that are late at random: a block or a gradient of the wrong pass,
// or one that is overwritten while somebody reads it, shows in the answers.
#include <algorithm>
#include <chrono>
#include <thread>

#include "runtime/core/rng.h"
#include "tests/support/ranks.h"
#include "tests/support/ring_case.h"

namespace annulus::test {

/// Sleeps before one call in three: by how much, the seed, the rank and the number of the call say.
class DelayedTransport : public Transport {
 public:
  DelayedTransport(Transport& inner, uint64_t seed, int rank)
      : inner_(inner), rng_(seed, "delays of rank " + std::to_string(rank)) {}

  const char* name() const override { return inner_.name(); }
  int64_t bytes() const override { return inner_.bytes(); }
  std::byte* begin(const PassPlan& plan) override { return delayed().begin(plan); }
  void publish() override { delayed().publish(); }
  const std::byte* block(int visit) override { return delayed().block(visit); }
  void release(int visit) override { delayed().release(visit); }
  std::byte* gradient(int visit) override { return delayed().gradient(visit); }
  const std::byte* arrived(int visit) override { return delayed().arrived(visit); }
  void hand_over(int visit) override { delayed().hand_over(visit); }
  void progress() override { inner_.progress(); }
  void end() override { delayed().end(); }

 private:
  Transport& delayed() {
    const uint64_t call = next_++;
    if (rng_.below(2 * call, 3) == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(100 + rng_.below(2 * call + 1, 500)));
    return inner_;
  }

  Transport& inner_;
  CounterRng rng_;
  uint64_t next_ = 0;
};

// This rank's tokens of one layer, its schedule, and what the ring makes of them.
struct Layer {
  Layer(const AttentionCase& c, const std::string& placement, const Group& ring)
      : Layer(c, make_placement(placement, c.shape.Sq, ring.size()), make_placement(placement, c.shape.Sk, ring.size()),
              ring.rank()) {}
  Layer(const AttentionCase& c, const Placement& queries, const Placement& keys, int rank)
      : heads{c.shape.B, c.shape.H, c.shape.K, c.shape.Dqk, c.shape.Dv},
        schedule(make_flat_ring(queries, keys, c.mask, heads, rank, attention_query_block())),
        sizes(transport_sizes(keys, heads, rank)),
        options{static_cast<float>(c.scale)},
        Tq(queries.num_tokens(rank)),
        Tk(keys.num_tokens(rank)),
        q({heads.B, Tq, heads.H, heads.Dqk}, mine(c.q, heads.H * heads.Dqk, queries, rank)),
        k({heads.B, Tk, heads.K, heads.Dqk}, mine(c.k, heads.K * heads.Dqk, keys, rank)),
        v({heads.B, Tk, heads.K, heads.Dv}, mine(c.v, heads.K * heads.Dv, keys, rank)),
        dout({heads.B, Tq, heads.H, heads.Dv}, mine(c.dout, heads.H * heads.Dv, queries, rank)),
        out(dout.view().shape()),
        lse({2, heads.B, heads.H, Tq}),
        dq(q.view().shape()),
        dk(k.view().shape()),
        dv(v.view().shape()) {}

  AttentionAnswer answer() const { return {out.doubles(), lse.doubles(), dq.doubles(), dk.doubles(), dv.doubles()}; }
  std::vector<double> mine(const std::vector<double>& x, int64_t row, const Placement& placement, int rank) const {
    return gather_tokens(x, heads.B, row, placement.positions(rank));
  }

  RingHeads heads;
  Schedule schedule;
  TransportSizes sizes;
  AttentionOptions options;
  int64_t Tq, Tk;
  Buffer q, k, v, dout, out, lse, dq, dk, dv;
};

// Layers with data, lengths and masks of their own, forward in order and backward in reverse, as a model makes its
// passes. `seed` 0 is without delays. Returns the answers by layer, of this rank's tokens.
inline std::vector<AttentionAnswer> run_layers(const std::vector<AttentionCase>& cases, const std::string& placement,
                                               const MakeTransport& make_transport, uint64_t seed, Group& ring) {
  std::vector<std::unique_ptr<Layer>> layers;
  TransportSizes sizes;
  for (const AttentionCase& c : cases) {
    layers.push_back(std::make_unique<Layer>(c, placement, ring));
    const TransportSizes& its = layers.back()->sizes;
    sizes = {std::max(sizes.own_block, its.own_block), std::max(sizes.largest_block, its.largest_block),
             std::max(sizes.largest_gradient, its.largest_gradient)};
  }
  const auto transport = make_transport(sizes, ring);
  DelayedTransport delayed(*transport, seed, ring.rank());
  Transport* wire = seed == 0 ? transport.get() : &delayed;

  Arena scratch("scratch");
  auto shape_of = [](const Buffer& b) { return TensorView(nullptr, Dtype::kF32, b.view().shape(), Device::kShape); };
  auto passes = [&](auto&& view, Transport* t) {
    for (const auto& l : layers)
      ring_attention_forward(view(l->out), view(l->lse), view(l->q), view(l->k), view(l->v), l->schedule, l->options, t,
                             scratch);
    for (size_t i = layers.size(); i-- > 0;) {
      const Layer& l = *layers[i];
      ring_attention_prefetch(view(l.k), view(l.v), l.schedule, t);
      ring_attention_backward(view(l.dq), view(l.dk), view(l.dv), view(l.q), view(l.out), view(l.lse), view(l.dout),
                              l.schedule, l.options, t, scratch);
    }
  };
  passes(shape_of, nullptr);
  scratch.commit();
  passes([](const Buffer& b) { return b.view(); }, wire);

  std::vector<AttentionAnswer> answers;
  for (const auto& layer : layers) answers.push_back(layer->answer());
  return answers;
}

using Answers = std::vector<std::vector<AttentionAnswer>>;  // by rank and layer

inline Answers run_layers_on_threads(const std::vector<AttentionCase>& cases, const std::string& placement,
                                     const MakeTransport& transport, uint64_t seed, int P) {
  Answers answers(static_cast<size_t>(P));
  run_ranks(P, [&](Group& ring) {
    answers[static_cast<size_t>(ring.rank())] = run_layers(cases, placement, transport, seed, ring);
  });
  return answers;
}

inline void expect_same_bits(const Answers& got, const Answers& expected, const std::string& what) {
  for (size_t rank = 0; rank < expected.size(); ++rank)
    for (size_t layer = 0; layer < expected[rank].size(); ++layer)
      expect_same_bits(got[rank][layer], expected[rank][layer], concat(what, " rank ", rank, " layer ", layer));
}

inline std::vector<AttentionCase> layers_of(int64_t S, const Mask& mask, int num_layers) {
  std::vector<AttentionCase> cases;
  for (int layer = 0; layer < num_layers; ++layer)
    cases.push_back(make_attention_case({1, S, S, 4, 2, 8, 16}, mask, 40 + 10 * static_cast<uint64_t>(layer)));
  return cases;
}

}  // namespace annulus::test
