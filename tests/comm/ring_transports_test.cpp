// Ranks as threads: the transport changes no bit of any result, and neither does the time that ranks take.
#include <gtest/gtest.h>

#include "comm/choose_transport.h"
#include "runtime/core/error.h"
#include "tests/support/ring_layers.h"

namespace annulus::test {
namespace {

const std::vector<std::string> kPlacements = {"contiguous", "zigzag", "striped"};

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

TEST(RingTransports, DelaysChangeNoBit) {
  const int64_t S = 45;
  const std::vector<NamedMask> masks = masks_for(S);
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    const int P = 2 + static_cast<int>(seed % 4);
    const NamedMask& m = masks[seed % 7];
    const std::string placement = kPlacements[seed % 3], transport = seed / 4 % 2 == 0 ? "in-process" : "shared";
    const std::vector<AttentionCase> cases = layers_of(S, m.mask, 2);
    expect_same_bits(run_layers_on_threads(cases, placement, transport_of(transport), seed, P),
                     run_layers_on_threads(cases, placement, transport_of("in-process"), 0, P),
                     concat(m.name, " ", placement, " ", transport, " P ", P, " seed ", seed));
  }
}

// Fewer tokens than ranks: blocks of no bytes make no hop, and the ring must not wait for any.
TEST(RingTransports, DelaysChangeNoBitWhereRanksHoldNothing) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const int64_t S = 1 + static_cast<int64_t>(seed % 4);
    const std::vector<AttentionCase> cases = layers_of(S, causal_mask(S, S), 2);
    const std::string placement = kPlacements[seed % 3], transport = seed % 2 == 0 ? "in-process" : "shared";
    expect_same_bits(run_layers_on_threads(cases, placement, transport_of(transport), seed, 5),
                     run_layers_on_threads(cases, placement, transport_of("in-process"), 0, 5),
                     concat(placement, " ", transport, " S ", S, " seed ", seed));
  }
}

// A layer in the middle of others gives what it gives alone: no pass sees a block or a gradient of another.
TEST(RingTransports, PassesDoNotMix) {
  const std::vector<AttentionCase> cases = layers_of(33, causal_mask(33, 33), 5);
  for (const std::string transport : {"in-process", "shared"})
    for (const int P : {1, 2, 4}) {
      const Answers together = run_layers_on_threads(cases, "zigzag", transport_of(transport), 0, P);
      for (size_t layer = 0; layer < cases.size(); ++layer) {
        const Answers alone = run_layers_on_threads({cases[layer]}, "zigzag", transport_of(transport), 0, P);
        for (size_t rank = 0; rank < alone.size(); ++rank)
          expect_same_bits(together[rank][layer], alone[rank][0], concat(transport, " P ", P, " layer ", layer));
      }
    }
}

TEST(RingTransports, HoldTwoBlocksAndThreeGradientsWhateverTheNumberOfRanks) {
  const TransportSizes sizes = {.own_block = 8192, .largest_block = 8192, .largest_gradient = 8192};
  for (const std::string kind : {"in-process", "shared"})
    for (const int P : {1, 3, 7})
      run_ranks(P, [&](Group& ring) {
        EXPECT_EQ(choose_transport(kind, sizes, ring)->bytes(), (P == 1 ? 2 : 5) * 8192);  // alone: one of each
      });
}

TEST(RingTransports, TooLittleSharedMemoryIsSaidOnEveryRank) {
  constexpr int64_t kHuge = int64_t{1} << 50;
  run_ranks(3, [&](Group& ring) {
    const int64_t own = ring.rank() == 1 ? kHuge : 64;  // only one of them needs it
    try {
      choose_transport("shared", {own, kHuge, 64}, ring);
      ADD_FAILURE() << "there is not so much memory";
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kMemory) << error.what();
      EXPECT_NE(std::string(error.what()).find("shared memory"), std::string::npos) << error.what();
    }
  });
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
