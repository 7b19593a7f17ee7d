// Ranks as threads: the transport changes no bit of any result, and neither does the time that ranks take.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "comm/choose_transport.h"
#include "runtime/core/error.h"
#include "runtime/core/rng.h"
#include "tests/support/ranks.h"
#include "tests/support/ring_case.h"

namespace annulus::test {
namespace {

const std::vector<std::string> kPlacements = {"contiguous", "zigzag", "striped"};

void expect_same_bits(const AttentionAnswer& got, const AttentionAnswer& expected, const std::string& what) {
  EXPECT_TRUE(got.out == expected.out) << what << " out";
  EXPECT_TRUE(got.lse == expected.lse) << what << " lse";
  EXPECT_TRUE(got.dq == expected.dq) << what << " dq";
  EXPECT_TRUE(got.dk == expected.dk) << what << " dk";
  EXPECT_TRUE(got.dv == expected.dv) << what << " dv";
}

RingRun run_on_threads(const AttentionCase& c, const std::string& placement, const std::string& transport, int P) {
  RingRun run;
  run_ranks(P, [&](Group& ring) {
    RingRun mine = run_ring(c, placement, transport, ring, 2);
    EXPECT_EQ(mine.counters.bytes_sent_forward + mine.counters.bytes_sent_backward, 0);  // read in place
    if (ring.rank() == 0) run = std::move(mine);
  });
  return run;
}

TEST(RingTransports, GiveTheSameBitsForEveryMaskAndPlacementOnOneToFiveRanks) {
  for (const int64_t S : {3, 41})
    for (const NamedMask& m : masks_for(S)) {
      const AttentionCase c = make_attention_case({2, S, S, 4, 2, 16, 8}, m.mask, 31);
      for (const std::string& placement : kPlacements)
        for (int P = 1; P <= 5; ++P) {
          const std::string what = concat(m.name, " ", placement, " S ", S, " P ", P);
          const RingRun in_process = run_on_threads(c, placement, "in-process", P);
          const RingRun shared = run_on_threads(c, placement, "shared", P);
          expect_exact(in_process.answer, c, what);
          expect_same_bits(shared.answer, in_process.answer, what);
          EXPECT_EQ(shared.counters.bytes_visited_forward, in_process.counters.bytes_visited_forward) << what;
          EXPECT_EQ(shared.counters.bytes_visited_backward, in_process.counters.bytes_visited_backward) << what;
        }
    }
}

// Sleeps before one call in three: by how much, the seed, the rank and the number of the call say.
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

// This rank's tokens of one layer, and what the ring makes of them.
struct Layer {
  Layer(const AttentionCase& c, const std::vector<int64_t>& rows, const std::vector<int64_t>& keys)
      : Tq(static_cast<int64_t>(rows.size())),
        Tk(static_cast<int64_t>(keys.size())),
        q({c.shape.B, Tq, c.shape.H, c.shape.Dqk}, gather_tokens(c.q, c.shape.B, c.shape.H * c.shape.Dqk, rows)),
        k({c.shape.B, Tk, c.shape.K, c.shape.Dqk}, gather_tokens(c.k, c.shape.B, c.shape.K * c.shape.Dqk, keys)),
        v({c.shape.B, Tk, c.shape.K, c.shape.Dv}, gather_tokens(c.v, c.shape.B, c.shape.K * c.shape.Dv, keys)),
        dout({c.shape.B, Tq, c.shape.H, c.shape.Dv}, gather_tokens(c.dout, c.shape.B, c.shape.H * c.shape.Dv, rows)),
        out(dout.view().shape()),
        lse({2, c.shape.B, c.shape.H, Tq}),
        dq(q.view().shape()),
        dk(k.view().shape()),
        dv(v.view().shape()) {}

  AttentionAnswer answer() const { return {out.doubles(), lse.doubles(), dq.doubles(), dk.doubles(), dv.doubles()}; }

  int64_t Tq, Tk;
  Buffer q, k, v, dout, out, lse, dq, dk, dv;
};

// Layers with data of their own, forward in order and backward in reverse, as a model makes its passes: a block or a
// gradient of the wrong pass shows. `seed` 0 is without delays. Returns the answers by layer, of this rank's tokens.
std::vector<AttentionAnswer> run_layers(const std::vector<AttentionCase>& cases, const std::string& placement,
                                        const std::string& transport_kind, uint64_t seed, Group& ring) {
  const auto& n = cases[0].shape;
  const Placement queries = make_placement(placement, n.Sq, ring.size());
  const Placement keys = make_placement(placement, n.Sk, ring.size());
  const RingHeads heads = {n.B, n.H, n.K, n.Dqk, n.Dv};
  const Schedule s = make_flat_ring(queries, keys, cases[0].mask, heads, ring.rank(), attention_query_block());
  const auto transport = choose_transport(transport_kind, transport_sizes(keys, heads, ring.rank()), ring);
  DelayedTransport delayed(*transport, seed, ring.rank());
  Transport* wire = seed == 0 ? transport.get() : &delayed;
  const AttentionOptions options = {static_cast<float>(cases[0].scale)};

  std::vector<std::unique_ptr<Layer>> layers;
  for (const AttentionCase& c : cases)
    layers.push_back(std::make_unique<Layer>(c, queries.positions(ring.rank()), keys.positions(ring.rank())));
  Arena scratch("scratch");
  auto shape_of = [](const Buffer& b) { return TensorView(nullptr, Dtype::kF32, b.view().shape(), Device::kShape); };
  auto passes = [&](auto&& view, Transport* t) {
    for (const auto& l : layers)
      ring_attention_forward(view(l->out), view(l->lse), view(l->q), view(l->k), view(l->v), s, options, t, scratch);
    for (size_t i = layers.size(); i-- > 0;) {
      const Layer& l = *layers[i];
      ring_attention_prefetch(view(l.k), view(l.v), s, t);
      ring_attention_backward(view(l.dq), view(l.dk), view(l.dv), view(l.q), view(l.out), view(l.lse), view(l.dout), s,
                              options, t, scratch);
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

Answers run_layers_on_threads(const std::vector<AttentionCase>& cases, const std::string& placement,
                              const std::string& transport, uint64_t seed, int P) {
  Answers answers(static_cast<size_t>(P));
  run_ranks(P, [&](Group& ring) {
    answers[static_cast<size_t>(ring.rank())] = run_layers(cases, placement, transport, seed, ring);
  });
  return answers;
}

void expect_same_bits(const Answers& got, const Answers& expected, const std::string& what) {
  for (size_t rank = 0; rank < expected.size(); ++rank)
    for (size_t layer = 0; layer < expected[rank].size(); ++layer)
      expect_same_bits(got[rank][layer], expected[rank][layer], concat(what, " rank ", rank, " layer ", layer));
}

std::vector<AttentionCase> layers_of(int64_t S, const Mask& mask, int num_layers) {
  std::vector<AttentionCase> cases;
  for (int layer = 0; layer < num_layers; ++layer)
    cases.push_back(make_attention_case({1, S, S, 4, 2, 8, 16}, mask, 40 + 10 * static_cast<uint64_t>(layer)));
  return cases;
}

TEST(RingTransports, DelaysChangeNoBit) {
  const int64_t S = 45;
  const std::vector<NamedMask> masks = masks_for(S);
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    const int P = 2 + static_cast<int>(seed % 4);
    const NamedMask& m = masks[seed % 7];
    const std::string placement = kPlacements[seed % 3], transport = seed / 4 % 2 == 0 ? "in-process" : "shared";
    const std::vector<AttentionCase> cases = layers_of(S, m.mask, 2);
    expect_same_bits(run_layers_on_threads(cases, placement, transport, seed, P),
                     run_layers_on_threads(cases, placement, "in-process", 0, P),
                     concat(m.name, " ", placement, " ", transport, " P ", P, " seed ", seed));
  }
}

// Fewer tokens than ranks: blocks of no bytes make no hop, and the ring must not wait for any.
TEST(RingTransports, DelaysChangeNoBitWhereRanksHoldNothing) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const int64_t S = 1 + static_cast<int64_t>(seed % 4);
    const std::vector<AttentionCase> cases = layers_of(S, causal_mask(S, S), 2);
    const std::string placement = kPlacements[seed % 3], transport = seed % 2 == 0 ? "in-process" : "shared";
    expect_same_bits(run_layers_on_threads(cases, placement, transport, seed, 5),
                     run_layers_on_threads(cases, placement, "in-process", 0, 5),
                     concat(placement, " ", transport, " S ", S, " seed ", seed));
  }
}

// A layer in the middle of others gives what it gives alone: no pass sees a block or a gradient of another.
TEST(RingTransports, PassesDoNotMix) {
  const std::vector<AttentionCase> cases = layers_of(33, causal_mask(33, 33), 5);
  for (const std::string transport : {"in-process", "shared"})
    for (const int P : {1, 2, 4}) {
      const Answers together = run_layers_on_threads(cases, "zigzag", transport, 0, P);
      for (size_t layer = 0; layer < cases.size(); ++layer) {
        const Answers alone = run_layers_on_threads({cases[layer]}, "zigzag", transport, 0, P);
        for (size_t rank = 0; rank < alone.size(); ++rank)
          expect_same_bits(together[rank][layer], alone[rank][0], concat(transport, " P ", P, " layer ", layer));
      }
    }
}

TEST(RingTransports, HoldTwoBlocksAndThreeGradientsWhateverTheNumberOfRanks) {
  const TransportSizes sizes = {.own_block = 8192, .largest_block = 8192, .largest_gradient = 8192};
  for (const std::string kind : {"in-process", "shared"})
    for (const int P : {1, 3, 7})
      run_ranks(P, [&](Group& ring) { EXPECT_EQ(choose_transport(kind, sizes, ring)->bytes(), 5 * 8192); });
}

TEST(RingTransports, AreChosenByWhatTheRanksAre) {
  run_ranks(3, [](Group& ring) {
    EXPECT_STREQ(choose_transport("auto", {64, 64, 64}, ring)->name(), "in-process");
    EXPECT_STREQ(choose_transport("in-process", {64, 64, 64}, ring)->name(), "in-process");
    EXPECT_STREQ(choose_transport("shared", {64, 64, 64}, ring)->name(), "shared");
  });
}

TEST(RingTransports, MessagesBetweenThreadsAreRefusedOnEveryRank) {
  run_ranks(3, [](Group& ring) {
    try {
      choose_transport("mpi", {64, 64, 64}, ring);
      ADD_FAILURE() << "mpi was accepted";
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      for (const std::string part : {"mpi", "parallel.transport", "threads", "in-process"})
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
    // The config refuses other names long before.
    for (const std::string kind : {"", "tcp", "MPI", "shared "})
      EXPECT_THROW(choose_transport(kind, {64, 64, 64}, ring), std::logic_error) << kind;
  });
}

}  // namespace
}  // namespace annulus::test
