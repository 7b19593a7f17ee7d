// Ranks as processes; run by mpirun on 1 to 5 of them. Every transport gives the bits that threads give, beside the
// fp64 oracle, and moves exactly the bytes it should.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "comm/choose_transport.h"
#include "comm/mpi_group.h"
#include "comm/parallel_dims.h"
#include "comm/shared_memory.h"
#include "comm/shared_transport.h"
#include "runtime/core/error.h"
#include "tests/support/puppet.h"
#include "tests/support/ranks.h"
#include "tests/support/ring_case.h"

namespace annulus::test {
namespace {

const std::vector<std::string> kPlacements = {"contiguous", "zigzag", "striped"};

// All processes, for the whole program.
Group& world() {
  static const std::unique_ptr<Group> all = make_mpi_world();
  all->set_timeout(kTestTimeoutSeconds / 2);  // tests/support/mpi_main.cpp waits longer than that for a rank
  cpu::set_num_threads(1);
  return *all;
}

// The answer of as many threads of this process; the other processes wait in their next collective.
AttentionAnswer answer_of_threads(const AttentionCase& c, const std::string& placement, int P, int layers) {
  AttentionAnswer answer;
  run_ranks(P, [&](Group& ring) {
    RingRun run = run_ring(c, placement, "in-process", ring, layers);
    if (ring.rank() == 0) answer = std::move(run.answer);
  });
  return answer;
}

// Which ranks share memory, by force: all on one node but really apart in everything else.
std::vector<std::vector<int>> node_shapes(int P) {
  std::vector<std::vector<int>> shapes;
  for (const auto& node_of : {+[](int r, int n) { return 2 * r >= n; }, +[](int r, int) { return r > 0; },
                              +[](int r, int) { return r % 2 == 1; }}) {
    shapes.emplace_back();
    for (int r = 0; r < P; ++r) shapes.back().push_back(node_of(r, P));
  }
  shapes.emplace_back(static_cast<size_t>(P));  // one node
  shapes.emplace_back();                        // a node each
  for (int r = 0; r < P; ++r) shapes.back().push_back(r);
  return shapes;
}

MakeTransport over_nodes(const std::vector<int>& node_of_rank) {
  return [nodes = NodeMap(node_of_rank)](const TransportSizes& sizes, Group& ring) {
    return make_nodes_transport(sizes, nodes, ring);
  };
}

std::vector<std::pair<std::string, MakeTransport>> transports() {
  std::vector<std::pair<std::string, MakeTransport>> all = {{"shared", transport_of("shared")},
                                                            {"mpi", transport_of("mpi")}};
  const auto shapes = node_shapes(world().size());
  for (const std::vector<int>& shape : {shapes[1], shapes[2]})  // threads play the others (node_transport_test)
    all.emplace_back(NodeMap(shape).text(), over_nodes(shape));
  return all;
}

// DESIGN section 6, "Counted", for one layer. With nodes: of what a rank hands to the next one, the blocks that have
// not been on that one's node, and all gradients that go to another node.
TransportCounters expected_bytes(const AttentionCase& c, const std::string& placement, int rank, int P,
                                 const std::vector<int>& nodes) {
  const auto node = [&](int r) { return nodes[static_cast<size_t>((r + P) % P)]; };
  // Whether ranks block, block + step, ... up to this one are on other nodes than the next.
  const auto is_new = [&](int block, int step) {
    for (int r = block;; r = (r + step + P) % P) {
      if (node(r) == node(rank + step)) return false;
      if (r == rank) return true;
    }
  };
  const auto& n = c.shape;
  const Placement queries = make_placement(placement, n.Sq, P), keys = make_placement(placement, n.Sk, P);
  const auto slices = oracle_slices(c.mask);
  auto sees = [&](int block) {
    for (const int64_t i : queries.positions(rank))
      for (const int64_t j : keys.positions(block))
        if (oracle::sees(slices, i, j)) return true;
    return false;
  };
  TransportCounters bytes;
  for (int block = 0; block < P; ++block) {
    const int64_t size = n.B * keys.num_tokens(block) * n.K * (n.Dqk + n.Dv) * 4;
    if (is_new(block, 1)) bytes.bytes_sent_forward += size;
    if (is_new(block, -1)) bytes.bytes_sent_backward += size;
    if (block == rank) continue;
    if (node(rank) != node(rank - 1)) bytes.bytes_sent_backward += size;  // its gradient
    bytes.bytes_visited_forward += sees(block) ? size : 0;
    bytes.bytes_visited_backward += sees(block) ? 2 * size : 0;
  }
  return bytes;
}

// Runs the case with both transports over `ring` and compares: the answers with each other, with threads and with the
// oracle, the bytes with the formula.
void expect_sound(const AttentionCase& c, const std::string& placement, Group& ring, const std::string& what) {
  const int layers = 2;
  const RingRun shared = run_ring(c, placement, "shared", ring, layers);
  const RingRun mpi = run_ring(c, placement, "mpi", ring, layers);
  static size_t next_shape = 0;  // one of the shapes a case; all ranks count alike
  const std::vector<int> nodes = node_shapes(ring.size())[next_shape++ % node_shapes(ring.size()).size()];
  const RingRun on_nodes = run_ring(c, placement, over_nodes(nodes), ring, layers);
  const std::vector<int> apart = node_shapes(ring.size()).back();
  const TransportCounters expected = expected_bytes(c, placement, ring.rank(), ring.size(), apart);
  EXPECT_EQ(mpi.counters.bytes_sent_forward, layers * expected.bytes_sent_forward) << what;
  EXPECT_EQ(mpi.counters.bytes_sent_backward, layers * expected.bytes_sent_backward) << what;
  EXPECT_EQ(shared.counters.bytes_sent_forward, 0) << what;
  EXPECT_EQ(shared.counters.bytes_sent_backward, 0) << what;
  const TransportCounters between_nodes = expected_bytes(c, placement, ring.rank(), ring.size(), nodes);
  EXPECT_EQ(on_nodes.counters.bytes_sent_forward, layers * between_nodes.bytes_sent_forward) << what;
  EXPECT_EQ(on_nodes.counters.bytes_sent_backward, layers * between_nodes.bytes_sent_backward) << what;
  for (const RingRun* run : {&shared, &mpi, &on_nodes}) {
    EXPECT_EQ(run->counters.bytes_visited_forward, layers * expected.bytes_visited_forward) << what;
    EXPECT_EQ(run->counters.bytes_visited_backward, layers * expected.bytes_visited_backward) << what;
  }
  if (ring.rank() != 0) return;
  expect_exact(shared.answer, c, what);
  expect_same_bits(mpi.answer, shared.answer, what + " mpi");
  expect_same_bits(on_nodes.answer, shared.answer, concat(what, " ", NodeMap(nodes).text()));
  expect_same_bits(answer_of_threads(c, placement, ring.size(), layers), shared.answer, what + " threads");
}

// Few rows of level numbers in which every two levels of different factors meet.
std::vector<std::vector<size_t>> pairwise(const std::vector<size_t>& num_levels) {
  const size_t F = num_levels.size(), most = *std::max_element(num_levels.begin(), num_levels.end());
  std::vector<bool> met(F * most * F * most);
  auto pair = [&](size_t f, size_t level, size_t g, size_t other) {
    return ((f * most + level) * F + g) * most + other;
  };
  std::vector<std::vector<size_t>> rows;
  for (size_t f = 0; f < F; ++f)
    for (size_t g = f + 1; g < F; ++g)
      for (size_t a = 0; a < num_levels[f]; ++a)
        for (size_t b = 0; b < num_levels[g]; ++b) {
          if (met[pair(f, a, g, b)]) continue;
          std::vector<size_t> row(F);
          std::vector<size_t> fixed = {f, g};
          row[f] = a, row[g] = b;
          // The other factors, one by one: the level that meets most of the fixed ones for the first time.
          for (size_t h = 0; h < F; ++h) {
            if (h == f || h == g) continue;
            long best = -1;
            for (size_t n = 0; n < num_levels[h]; ++n) {
              const size_t level = (n + rows.size()) % num_levels[h];
              const long gain = std::count_if(fixed.begin(), fixed.end(),
                                              [&](size_t other) { return !met[pair(other, row[other], h, level)]; });
              if (gain > best) row[h] = level, best = gain;
            }
            fixed.push_back(h);
          }
          for (size_t h = 0; h < F; ++h)
            for (size_t other = 0; other < F; ++other) met[pair(h, row[h], other, row[other])] = true;
          rows.push_back(row);
        }
  return rows;
}

struct Heads {
  int64_t B, H, K, Dqk, Dv;
};

TEST(MpiRing, EveryTransportGivesTheBitsOfThreadsBesideTheOracle) {
  const std::vector<int64_t> lengths = {1, 3, 16, 37, 70};
  const std::vector<Heads> heads = {{1, 2, 2, 16, 16}, {2, 4, 2, 8, 24}, {1, 5, 1, 24, 8}, {3, 3, 3, 32, 16}};
  const auto rows = pairwise({kPlacements.size(), masks_for(1).size(), heads.size(), lengths.size()});
  EXPECT_LT(rows.size(), 70u);  // of 540
  for (const std::vector<size_t>& row : rows) {
    const int64_t S = lengths[row[3]];
    const NamedMask m = masks_for(S)[row[1]];
    const Heads& n = heads[row[2]];
    const AttentionCase c = make_attention_case({n.B, S, S, n.H, n.K, n.Dqk, n.Dv}, m.mask, 51);
    const std::string& placement = kPlacements[row[0]];
    expect_sound(c, placement, world(), concat(m.name, " ", placement, " S ", S, " H ", n.H, " K ", n.K));
  }
}

TEST(MpiRing, CrossAttention) {
  for (const auto& [Sq, Sk] : {std::pair<int64_t, int64_t>{50, 21}, {3, 40}}) {
    const AttentionCase c = make_attention_case({1, Sq, Sk, 2, 2, 16, 16}, full_mask(Sq, Sk), 52);
    expect_sound(c, "zigzag", world(), concat("cross ", Sq, " x ", Sk));
  }
}

// A block is more than one message (of 1 MiB), and the last one is not full. Every four queries see six keys somewhere.
TEST(MpiRing, BlocksOfSeveralMessages) {
  const int64_t Sq = 64, Sk = 301 * world().size();
  Mask mask;
  for (int64_t q = 0; q < Sq; q += 4) mask.push_back({q, q + 4, q * Sk / Sq, q * Sk / Sq + 6, -kUnbounded, kUnbounded});
  const AttentionCase c = make_attention_case({1, Sq, Sk, 4, 4, 128, 128}, mask, 53);
  ASSERT_GT(striped_placement(Sk, world().size()).largest() * 4 * (128 + 128) * 4, 1 << 20);
  expect_sound(c, "striped", world(), "large blocks");
}

// Two rings side by side, as dp x cp = 2 x 2 makes them.
TEST(MpiRing, RingsOfAPartOfTheWorld) {
  const ParallelDims dims = {.dp = 2, .cp = world().size() / 2};
  if (dims.dp * dims.cp != world().size()) GTEST_SKIP() << "an odd number of ranks";
  const int replica = dims.replica_of(world().rank());
  const auto ring = world().split(replica);
  ASSERT_EQ(ring->size(), dims.cp);
  EXPECT_EQ(ring->rank(), dims.ring_rank_of(world().rank()));
  const auto seed = static_cast<uint64_t>(54 + 10 * replica);
  const AttentionCase c = make_attention_case({1, 35, 35, 4, 2, 16, 8}, causal_mask(35, 35), seed);
  expect_sound(c, "zigzag", *ring, concat("ring ", replica));
}

TEST(MpiRing, TheSharedMemoryHandshakeSucceedsOnOneNode) {
  const auto shared = make_shared_transport({4096, 4096, 4096}, world());
  ASSERT_NE(shared, nullptr);
  EXPECT_STREQ(shared->name(), "shared");
  EXPECT_STREQ(choose_transport("auto", {64, 64, 64}, world())->name(), "shared");
  EXPECT_STREQ(choose_transport("shared", {64, 64, 64}, world())->name(), "shared");
  EXPECT_STREQ(choose_transport("mpi", {64, 64, 64}, world())->name(), "mpi");
  EXPECT_EQ(find_nodes(world()).num_nodes(), 1);
  const auto nodes = choose_transport("nodes", {64, 64, 64}, world());
  EXPECT_STREQ(nodes->name(), "nodes");
  EXPECT_EQ(nodes->text(), concat("nodes (1 node of ", world().size(), world().size() == 1 ? " rank)" : " ranks)"));
  try {
    choose_transport("in-process", {64, 64, 64}, world());
    ADD_FAILURE() << "in-process was accepted";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(error.what()).find("processes"), std::string::npos) << error.what();
  }
}

// No buffer may be written while a late neighbour still needs it, also where blocks of nothing make no hop.
TEST(MpiRing, ASlowRankSpoilsNoBuffer) {
  const std::vector<std::vector<int64_t>> counts = {{3}, {0, 0, 1, 0, 1}, {40, 1, 0, 5, 0}, {0}};
  for (const auto& [name, make] : transports())
    for (size_t n = 0; n < counts.size(); ++n)
      for (int slow = 0; slow < world().size(); ++slow) {
        SCOPED_TRACE(concat(name, ", counts ", n, ", slow rank ", slow));
        expect_every_number(make, counts[n], slow, world());
      }
}

TEST(MpiRing, EveryNumberOfABlockOfSeveralMessagesArrives) {
  const std::vector<int64_t> counts = {140, 130, 260};  // 1 MiB is 128 tokens
  for (const auto& [name, make] : transports()) expect_every_number(make, counts, 0, world());
}

TEST(MpiGroup, Collectives) {
  Group& group = world();
  const int rank = group.rank(), P = group.size();
  EXPECT_STREQ(group.kind(), "mpi");
  EXPECT_EQ(group.world_rank(rank), rank);
  for (int root = 0; root < P; ++root) {
    for (const std::string& text : {std::string(), std::string("ring"), std::string(3'000'000, 'r')})
      EXPECT_EQ(group.broadcast(rank == root ? text : "other", root, "text"), text);
    const std::vector<std::string> all = group.gather(std::string(static_cast<size_t>(rank * 7), 'x'), root, "texts");
    ASSERT_EQ(all.size(), rank == root ? static_cast<size_t>(P) : size_t{0});
    for (size_t r = 0; r < all.size(); ++r) EXPECT_EQ(all[r], std::string(r * 7, 'x'));
  }
  auto term = [](int r, int i) { return std::ldexp(1.0 / (3 + 7 * r + i), 11 * ((3 * r + 2) % 4)); };
  std::vector<double> values, expected(9);
  for (int i = 0; i < 9; ++i) values.push_back(term(rank, i));
  for (int r = 0; r < P; ++r)
    for (int i = 0; i < 9; ++i) expected[static_cast<size_t>(i)] += term(r, i);
  EXPECT_EQ(group.sum(values[4], "reals"), expected[4]);
  group.sum_in_place(values, "vectors");
  EXPECT_EQ(values, expected);
  EXPECT_EQ(group.sum(int64_t{1} << rank, "integers"), (int64_t{1} << P) - 1);
  EXPECT_EQ(group.max(int64_t{-rank}, "ranks"), 0);
  const std::vector<int64_t> ranks = group.all_gather(int64_t{rank}, "ranks");
  for (int r = 0; r < P; ++r) EXPECT_EQ(ranks[static_cast<size_t>(r)], r);
  group.barrier("a barrier");
}

TEST(MpiGroup, AWorldInAnotherOrder) {
  const int P = world().size(), process = world().rank();
  std::vector<int> order;
  for (int rank = 0; rank < P; ++rank) order.push_back(P - 1 - rank);
  const auto reversed = make_mpi_world(order);
  EXPECT_EQ(reversed->rank(), P - 1 - process);
  EXPECT_EQ(reversed->world_rank(reversed->rank()), process);
  const std::vector<int64_t> processes = reversed->all_gather(int64_t{process}, "processes");
  for (int rank = 0; rank < P; ++rank) EXPECT_EQ(processes[static_cast<size_t>(rank)], P - 1 - rank);
  const auto half = reversed->split(reversed->rank() % 2);
  EXPECT_EQ(half->world_rank(half->rank()), process);
  expect_sound(make_attention_case({1, 35, 35, 4, 2, 16, 8}, causal_mask(35, 35), 57), "zigzag", *reversed, "reversed");
}

TEST(MpiGroup, MessagesToOnePeerKeepTheirOrder) {
  const std::vector<size_t> sizes = {1, 0, 300, 0, 70'000, 8, 3'000'000, 0};
  const int to = (world().rank() + 1) % world().size(), from = (world().rank() + world().size() - 1) % world().size();
  if (to == world().rank()) GTEST_SKIP() << "one rank sends nothing";
  for (int round = 0; round < 3; ++round) {
    std::vector<std::string> out, in;
    std::vector<Group::Outgoing> sends;
    std::vector<Group::Incoming> receives;
    for (size_t i = 0; i < sizes.size(); ++i) {
      out.emplace_back(sizes[i], static_cast<char>('a' + i));
      in.emplace_back(sizes[i], '\0');
    }
    for (size_t i = 0; i < sizes.size(); ++i) {
      sends.push_back({to, out[i].data(), static_cast<int64_t>(sizes[i])});
      receives.push_back({from, in[i].data(), static_cast<int64_t>(sizes[i])});
    }
    world().exchange(sends, receives, "messages");
    EXPECT_EQ(in, out);
  }
}

TEST(MpiGroup, SplitsGiveEachColourItsOwnRanks) {
  const int P = world().size(), rank = world().rank();
  const ParallelDims dims = {.dp = (P + 1) / 2, .cp = 2};  // the last ring of an odd world is one rank short
  const auto ring = world().split(dims.replica_of(rank)), replicas = world().split(dims.ring_rank_of(rank));
  EXPECT_EQ(ring->rank(), rank % 2);
  EXPECT_EQ(ring->size(), rank / 2 * 2 + 1 < P ? 2 : 1);
  EXPECT_EQ(replicas->rank(), rank / 2);
  for (int r = 0; r < ring->size(); ++r) EXPECT_EQ(ring->world_rank(r), rank / 2 * 2 + r);
  for (int r = 0; r < replicas->size(); ++r) EXPECT_EQ(replicas->world_rank(r), rank % 2 + 2 * r);
  int64_t of_replicas = 0;
  for (int r = rank % 2; r < P; r += 2) of_replicas += r;
  EXPECT_EQ(replicas->sum(int64_t{rank}, "replicas"), of_replicas);
  EXPECT_EQ(ring->sum(int64_t{1}, "a ring"), ring->size());
  const auto alone = ring->split(ring->rank());
  EXPECT_EQ(alone->size(), 1);
  EXPECT_EQ(alone->world_rank(0), rank);
  EXPECT_EQ(alone->limits().timeout_seconds, world().limits().timeout_seconds);
}

}  // namespace
}  // namespace annulus::test
