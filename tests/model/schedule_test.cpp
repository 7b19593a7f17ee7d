// The flat ring without any kernel: the schedules of all ranks are played against each other, visit by visit, and every
// promise of model/schedule.h and comm/hop.h is checked. The last test damages schedules and expects the check to see
// it.
#include "model/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <string>
#include <tuple>

#include "runtime/core/error.h"
#include "tests/support/masks.h"

namespace annulus::test {
namespace {

constexpr RingHeads kHeads = {2, 6, 3, 8, 16};
constexpr int64_t kElementsPerToken = 2 * 3 * (8 + 16);  // B * K * (Dqk + Dv)
constexpr int64_t kRowsPerBlock = 4;
constexpr bool kForward = false, kBackward = true;

static_assert(kKeyValueBuffers == 3 && kGradientBuffers == 3, "own and two that arrive; computed, leaving, arriving");

const std::vector<std::string> kPlacements = {"contiguous", "zigzag", "striped"};

struct Ring {
  Placement queries, keys;
  Mask mask;
  std::vector<Schedule> ranks;
  Dtype dtype = Dtype::kF32;

  int size() const { return static_cast<int>(ranks.size()); }
  int rank_after(int rank, int distance) const { return ((rank + distance) % size() + size()) % size(); }
  // Keys and values travel in their dtype, their gradients in f32 in any case.
  int64_t bytes(int block, Payload payload) const {
    const int64_t bytes_of_element = payload == Payload::kKeyValue && dtype == Dtype::kBf16 ? 2 : 4;
    return keys.num_tokens(block) * kElementsPerToken * bytes_of_element;
  }
};

Ring make_ring(const std::string& placement, int64_t Sq, int64_t Sk, int P, const Mask& mask,
               Dtype dtype = Dtype::kF32) {
  Ring ring = {make_placement(placement, Sq, P), make_placement(placement, Sk, P), mask, {}, dtype};
  RingHeads heads = kHeads;
  heads.dtype = dtype;
  for (int r = 0; r < P; ++r)
    ring.ranks.push_back(make_flat_ring(ring.queries, ring.keys, mask, heads, r, kRowsPerBlock));
  return ring;
}

const AttentionTiles& tiles_of(const Schedule& s, const PassVisit& v) { return s.tiles[static_cast<size_t>(v.block)]; }

const PassPlan& plan_of(const Schedule& s, bool backward) { return backward ? s.backward : s.forward; }

// Collects what is wrong with a ring.
class Checker {
 public:
  explicit Checker(const Ring& ring) : ring_(ring) {}

  std::vector<std::string> check() {
    for (const Schedule& s : ring_.ranks) {
      check_sizes(s);
      check_query_blocks(s);
      check_first_and_last(s);
      for (const bool backward : {kForward, kBackward}) {
        check_visits(s, plan_of(s, backward));
        check_bytes(s, plan_of(s, backward));
        check_buffers(s, plan_of(s, backward));
      }
    }
    for (const bool backward : {kForward, kBackward}) check_pairs(backward);
    // Two layers forward and back, and once more: messages of one pass must not be taken for those of another.
    for (const bool backward : {kForward, kForward, kBackward, kBackward, kForward, kBackward}) play(backward);
    return problems_;
  }

 private:
  template <class... Parts>
  void expect(bool ok, const Parts&... parts) {
    if (!ok) problems_.push_back(concat(parts...));
  }

  void check_sizes(const Schedule& s) {
    expect(s.num_queries == ring_.queries.num_tokens(s.rank), "rank ", s.rank, " has a wrong number of queries");
    expect(s.num_keys.size() == ring_.ranks.size(), "rank ", s.rank, " does not know every block");
    int64_t pairs = 0;
    for (int r = 0; r < ring_.size(); ++r) {
      expect(s.num_keys[static_cast<size_t>(r)] == ring_.keys.num_tokens(r), "block ", r, " has a wrong size");
      for (const AttentionTiles& tiles : ring_.ranks[static_cast<size_t>(r)].tiles) pairs += tiles.pairs;
    }
    expect(s.visible_pairs == pairs, "visible pairs ", s.visible_pairs, " but the tiles hold ", pairs);
  }

  // The same blocks in every visit: all rows in order, none with more rows than the kernel takes or of two segments.
  void check_query_blocks(const Schedule& s) {
    std::vector<int64_t> segment_of_row;
    for (const Segment& segment : ring_.queries.segments(s.rank))
      segment_of_row.insert(segment_of_row.end(), static_cast<size_t>(segment.count), segment.begin);
    for (const AttentionTiles& tiles : s.tiles) {
      int64_t row = 0;
      for (const QueryBlock& block : tiles.blocks) {
        expect(block.row0 == row && block.rows > 0 && block.rows <= kRowsPerBlock, "query rows out of order");
        row += block.rows;
        expect(row <= s.num_queries &&
                   segment_of_row[static_cast<size_t>(block.row0)] == segment_of_row[static_cast<size_t>(row - 1)],
               "a query block crosses segments");
      }
      expect(row == s.num_queries, "query blocks hold ", row, " of ", s.num_queries, " rows");
    }
  }

  void check_first_and_last(const Schedule& s) {
    for (size_t i = 0; i < s.tiles.front().blocks.size(); ++i) {
      int num_first = 0, num_last = 0, num_with_work = 0;
      for (const PassVisit& visit : s.forward.visits) {
        const QueryBlock& block = tiles_of(s, visit).blocks[i];
        const bool work = block.slice_begin < block.slice_end;
        expect(!work || (num_last == 0 && (num_first > 0 || block.first)), "work before first or after last");
        expect(!block.last || num_first > 0 || block.first, "last comes before first");
        num_first += block.first;
        num_last += block.last;
        num_with_work += work;
        expect(work || (!block.first && !block.last) || visit.block == s.rank, "first or last without work");
      }
      expect(num_first == 1 && num_last == 1, "query block ", i, " of rank ", s.rank, " has ", num_first, " first and ",
             num_last, " last");
      const QueryBlock& own = s.tiles[static_cast<size_t>(s.rank)].blocks[i];
      expect(num_with_work > 0 || (own.first && own.last), "a block that sees nothing is not written");
    }
  }

  void check_visits(const Schedule& s, const PassPlan& plan) {
    expect(plan.backward == (&plan == &s.backward), "a pass in the wrong direction");
    expect(plan.visits.size() == ring_.ranks.size(), "rank ", s.rank, " makes ", plan.visits.size(), " visits");
    for (size_t t = 0; t < plan.visits.size(); ++t) {
      const PassVisit& v = plan.visits[t];
      const int steps = static_cast<int>(t);
      const int documented = ring_.rank_after(s.rank, plan.backward ? 1 + steps : -steps);
      expect(v.block == documented, "visit ", t, " of rank ", s.rank, " goes to ", v.block, ", not ", documented);
      expect(v.has_work == (tiles_of(s, v).pairs > 0), "visit ", t, " of rank ", s.rank, " is wrong about its work");
    }
    int readers = 0;
    for (const Schedule& other : ring_.ranks)
      for (const PassVisit& v : plan_of(other, plan.backward).visits)
        readers += other.rank != s.rank && v.block == s.rank;
    expect(plan.readers_of_own == readers, "rank ", s.rank, " counts ", plan.readers_of_own, " readers of ", readers);
  }

  // DESIGN section 6, "Counted".
  void check_bytes(const Schedule& s, const PassPlan& plan) {
    std::map<Payload, int64_t> sent;
    for (const Hop& hop : plan.hops) {
      expect(hop.bytes == ring_.bytes(hop.block, hop.payload), "a hop of block ", hop.block, " has ", hop.bytes,
             " bytes");
      if (hop.send) sent[hop.payload] += hop.bytes;
    }
    const auto all_but = [&](int not_sent, Payload payload) {
      int64_t bytes = -ring_.bytes(not_sent, payload);
      for (int block = 0; block < ring_.size(); ++block) bytes += ring_.bytes(block, payload);
      return bytes;
    };
    const int not_sent = ring_.rank_after(s.rank, plan.backward ? -1 : 1);
    expect(sent[Payload::kKeyValue] == all_but(not_sent, Payload::kKeyValue), "rank ", s.rank, " sends ",
           sent[Payload::kKeyValue], " bytes of keys and values");
    expect(sent[Payload::kGradient] == (plan.backward ? all_but(s.rank, Payload::kGradient) : 0), "rank ", s.rank,
           " sends ", sent[Payload::kGradient], " bytes of gradients");
  }

  // From the start of visit `begin` to the start of visit `end`.
  struct Use {
    Payload payload;
    int buffer, begin, end;
    bool writes;
  };

  // Nobody writes a buffer that is in use. A hop that starts before visit 0 still runs under visit 0.
  void check_buffers(const Schedule& s, const PassPlan& plan) {
    std::vector<Use> uses;
    for (int t = 0; t < static_cast<int>(plan.visits.size()); ++t) {
      const PassVisit& v = plan.visits[static_cast<size_t>(t)];
      uses.push_back({Payload::kKeyValue, v.buffer, t, t + 1, false});
      if (plan.backward) uses.push_back({Payload::kGradient, v.gradient_buffer, t, t + 1, true});
    }
    for (const Hop& hop : plan.hops) {
      const int needed_until = hop.payload == Payload::kKeyValue ? hop.needed : hop.needed + 1;
      expect(hop.send || hop.starts < needed_until, "a hop of rank ", s.rank, " is needed before it starts");
      const int end = hop.send ? std::max(hop.starts, 0) + 1 : needed_until;
      uses.push_back({hop.payload, hop.buffer, hop.starts, end, !hop.send});
    }
    for (size_t a = 0; a < uses.size(); ++a) {
      const Use& use = uses[a];
      expect(use.buffer >= 0 && use.buffer < 3, "rank ", s.rank, " uses a buffer ", use.buffer);
      for (size_t b = 0; b < a; ++b)
        expect(uses[b].payload != use.payload || uses[b].buffer != use.buffer || !(uses[b].writes || use.writes) ||
                   use.end <= uses[b].begin || uses[b].end <= use.begin,
               "rank ", s.rank, " overwrites buffer ", use.buffer, " in visit ", std::max(use.begin, uses[b].begin));
    }
  }

  // Every visible pair in exactly one visit of exactly one rank, and no other pair.
  void check_pairs(bool backward) {
    const int64_t Sq = ring_.queries.num_tokens(), Sk = ring_.keys.num_tokens();
    std::vector<int> seen(static_cast<size_t>(Sq * Sk)), expected(seen.size());
    for (const BandSlice& m : ring_.mask)
      for (int64_t i = m.q0; i < m.q1; ++i)
        for (int64_t j = m.k0; j < m.k1; ++j)
          expected[static_cast<size_t>(i * Sk + j)] += m.lo <= i - j && i - j <= m.hi;
    for (const Schedule& s : ring_.ranks) {
      const std::vector<int64_t> rows = ring_.queries.positions(s.rank);
      for (const PassVisit& visit : plan_of(s, backward).visits) {
        const std::vector<int64_t> keys = ring_.keys.positions(visit.block);
        const AttentionTiles& tiles = tiles_of(s, visit);
        int64_t pairs = 0;
        auto see = [&](const BandSlice& slice, int64_t row) {
          for (int64_t key = slice.k0; key < slice.k1; ++key) {
            if (row - key < slice.lo || row - key > slice.hi) continue;
            ++pairs;
            ++seen[static_cast<size_t>(rows[static_cast<size_t>(row)] * Sk + keys[static_cast<size_t>(key)])];
          }
        };
        for (const QueryBlock& block : tiles.blocks)
          for (int64_t i = block.slice_begin; visit.has_work && i < block.slice_end; ++i) {
            const BandSlice& slice = tiles.slices[static_cast<size_t>(i)];
            for (int64_t row = std::max(slice.q0, block.row0); row < std::min(slice.q1, block.row0 + block.rows); ++row)
              see(slice, row);
          }
        expect(!visit.has_work || pairs == tiles.pairs, "a visit has ", pairs, " pairs, not ", tiles.pairs);
      }
    }
    for (size_t pair = 0; pair < seen.size(); ++pair)
      expect(seen[pair] == expected[pair], "query ", pair / static_cast<size_t>(Sk), " meets key ",
             pair % static_cast<size_t>(Sk), " ", seen[pair], " times, not ", expected[pair]);
  }

  // What a buffer holds or a message carries: keys and values of a block, or a sum of gradients and who is in it.
  struct Contents {
    int block = -1;
    std::vector<int> summed;
  };
  struct Message {
    int pass, sent_at;
    int64_t bytes;
    Contents contents;
  };
  // All messages from one rank to another of one payload: they arrive in the order in which they were sent.
  struct Channel {
    std::vector<Message> sent;
    size_t num_received = 0;
  };
  struct Receive {
    const Hop* hop;
    Channel* channel;
    size_t number;  // in the channel
  };
  struct Rank {
    std::map<Payload, std::array<Contents, 3>> buffers;
    std::vector<Receive> receives;

    Contents& at(Payload payload, int buffer) {
      return buffers[payload][static_cast<size_t>(std::clamp(buffer, 0, 2))];  // check_buffers() reports the others
    }
  };

  // All ranks make one pass in step: in each visit first what it needs arrives, then its hops start, then it computes.
  void play(bool backward) {
    ++pass_;
    std::vector<Rank> ranks(ring_.ranks.size());
    auto for_all_ranks = [&](auto&& step) {
      for (const Schedule& s : ring_.ranks) step(s, plan_of(s, backward), ranks[static_cast<size_t>(s.rank)]);
    };
    for_all_ranks(
        [](const Schedule& s, const PassPlan&, Rank& state) { state.at(Payload::kKeyValue, 0).block = s.rank; });
    for (int t = -1; t < ring_.size(); ++t) {
      for_all_ranks([&](const Schedule& s, const PassPlan&, Rank& state) {
        for (const Receive& receive : state.receives)
          if (receive.hop->payload == Payload::kKeyValue && receive.hop->needed == t)
            arrive(s.rank, receive, t - 1, state);
      });
      for_all_ranks([&](const Schedule& s, const PassPlan& plan, Rank& state) {
        for (const Hop& hop : plan.hops)
          if (hop.starts == t) start(s.rank, hop, state);
      });
      for_all_ranks([&](const Schedule& s, const PassPlan& plan, Rank& state) {
        if (t >= 0 && static_cast<size_t>(t) < plan.visits.size()) visit(s, plan, t, state);
      });
    }
    for (const auto& [key, channel] : channels_)
      expect(channel.num_received == channel.sent.size(), "rank ", std::get<0>(key), " sends ", channel.sent.size(),
             " messages to rank ", std::get<1>(key), ", which receives ", channel.num_received);
  }

  void start(int rank, const Hop& hop, Rank& state) {
    expect(hop.peer != rank && hop.peer >= 0 && hop.peer < ring_.size(), "rank ", rank, " has a peer ", hop.peer);
    const int from = hop.send ? rank : hop.peer, to = hop.send ? hop.peer : rank;
    Channel& channel = channels_[{from, to, hop.payload}];
    if (!hop.send) return state.receives.push_back({&hop, &channel, channel.num_received++});
    const Contents& contents = state.at(hop.payload, hop.buffer);
    expect(contents.block == hop.block, "rank ", rank, " sends block ", hop.block, " from a buffer with block ",
           contents.block);
    channel.sent.push_back({pass_, hop.starts, hop.bytes, contents});
  }

  void arrive(int rank, const Receive& receive, int latest_send, Rank& state) {
    const Hop& hop = *receive.hop;
    if (receive.number >= receive.channel->sent.size() || receive.channel->sent[receive.number].sent_at > latest_send)
      return expect(false, "rank ", rank, " waits for block ", hop.block, ", which nobody has sent yet");
    const Message& message = receive.channel->sent[receive.number];
    expect(message.pass == pass_, "rank ", rank, " takes a message of another pass");
    expect(message.contents.block == hop.block && message.bytes == hop.bytes, "rank ", rank, " expects ", hop.bytes,
           " bytes of block ", hop.block, " and gets ", message.bytes, " of block ", message.contents.block);
    state.at(hop.payload, hop.buffer) = message.contents;
  }

  void visit(const Schedule& s, const PassPlan& plan, int t, Rank& state) {
    const PassVisit& v = plan.visits[static_cast<size_t>(t)];
    const int found = state.at(Payload::kKeyValue, v.buffer).block;
    expect(found == v.block || ring_.keys.num_tokens(v.block) == 0, "visit ", t, " of rank ", s.rank, " finds block ",
           found);
    if (!plan.backward) return;

    Contents sum = {v.block, {}};
    for (const Receive& receive : state.receives) {
      const Hop& hop = *receive.hop;
      if (hop.payload != Payload::kGradient || hop.needed != t) continue;
      arrive(s.rank, receive, t, state);
      expect(hop.block == v.block && sum.summed.empty(), "visit ", t, " of rank ", s.rank, " adds a wrong gradient");
      sum.summed = state.at(Payload::kGradient, hop.buffer).summed;
    }
    sum.summed.push_back(s.rank);
    state.at(Payload::kGradient, v.gradient_buffer) = sum;
    // In ring order: the rank before the owner begins, the owner ends.
    std::vector<int> all;
    for (int distance = 1; distance <= ring_.size(); ++distance) all.push_back(ring_.rank_after(s.rank, -distance));
    expect(v.block != s.rank || ring_.keys.num_tokens(v.block) == 0 || sum.summed == all, "the gradient of block ",
           v.block, " is a sum over ", sum.summed.size(), " ranks, or in a wrong order");
  }

  const Ring& ring_;
  int pass_ = 0;
  std::map<std::tuple<int, int, Payload>, Channel> channels_;
  std::vector<std::string> problems_;
};

void expect_sound(const Ring& ring, const std::string& what) {
  const std::vector<std::string> problems = Checker(ring).check();
  EXPECT_TRUE(problems.empty()) << what << ": " << problems.size() << " problems, first: " << problems.front();
}

TEST(FlatRing, IsSoundForEveryPlacementAndMaskOnOneToEightRanks) {
  for (const int64_t S : {1, 2, 3, 5, 7, 8, 13, 16, 29, 48})
    for (const NamedMask& m : masks_for(S))
      for (const std::string& placement : kPlacements)
        for (int P = 1; P <= 8; ++P)
          expect_sound(make_ring(placement, S, S, P, m.mask), concat(m.name, " ", placement, " S ", S, " P ", P));
}

TEST(FlatRing, SendsKeysAndValuesInTheirDtypeAndGradientsInF32) {
  for (const std::string& placement : kPlacements)
    for (int P = 1; P <= 8; ++P)
      expect_sound(make_ring(placement, 29, 29, P, causal_mask(29, 29), Dtype::kBf16), concat(placement, " P ", P));
}

TEST(FlatRing, IsSoundForCrossAttention) {
  for (const auto& [Sq, Sk] : {std::pair<int64_t, int64_t>{23, 9}, {9, 23}, {2, 30}, {30, 2}, {0, 5}, {5, 0}, {1, 1}})
    for (const Mask& mask : {full_mask(Sq, Sk), causal_mask(Sq, Sk), Mask{{Sq / 3, Sq, Sk / 2, Sk, -4, 11}}, Mask{}})
      for (const std::string& placement : kPlacements)
        for (int P = 1; P <= 8; ++P)
          expect_sound(make_ring(placement, Sq, Sk, P, mask), concat(placement, " ", Sq, " x ", Sk, " P ", P));
}

// A placement that no function makes: ranks of very different length, one with nothing in between.
TEST(FlatRing, IsSoundForAnyListOfSegments) {
  const Placement placement({{{0, 1, 1}, {30, 9, 1}}, {{1, 14, 1}}, {}, {{15, 3, 1}, {20, 10, 1}}, {{18, 2, 1}}});
  Ring ring = {placement, placement, sink_window_mask(39, 12, 3), {}, Dtype::kF32};
  for (int r = 0; r < 5; ++r)
    ring.ranks.push_back(make_flat_ring(placement, placement, ring.mask, kHeads, r, kRowsPerBlock));
  expect_sound(ring, "uneven segments");
}

struct Damage {
  const char* problem;  // part of what the check must say
  std::function<void(Schedule&)> apply;
};

// Hop `n` of one kind in the order of its plan.
Hop& kth(PassPlan& plan, Payload payload, bool send, int n) {
  for (Hop& hop : plan.hops)
    if (hop.payload == payload && hop.send == send && n-- == 0) return hop;
  throw std::logic_error("no such hop");
}

Hop& block_sent(PassPlan& plan, int n) { return kth(plan, Payload::kKeyValue, true, n); }
Hop& block_received(PassPlan& plan, int n) { return kth(plan, Payload::kKeyValue, false, n); }
Hop& sum_sent(PassPlan& plan, int n) { return kth(plan, Payload::kGradient, true, n); }
Hop& sum_received(PassPlan& plan, int n) { return kth(plan, Payload::kGradient, false, n); }

void drop(PassPlan& plan, const Hop& hop) { plan.hops.erase(plan.hops.begin() + (&hop - plan.hops.data())); }

QueryBlock& query_block(Schedule& s, int visit, size_t n = 0) {
  return s.tiles[static_cast<size_t>(s.forward.visits[static_cast<size_t>(visit)].block)].blocks[n];
}

const std::vector<Damage> kDamages = {
    // A hop too few or too many.
    {"waits for block", [](Schedule& s) { drop(s.forward, block_sent(s.forward, 1)); }},
    {"which receives", [](Schedule& s) { drop(s.forward, block_received(s.forward, 2)); }},
    {"finds block", [](Schedule& s) { drop(s.backward, block_received(s.backward, 0)); }},
    {"waits for block", [](Schedule& s) { drop(s.backward, sum_sent(s.backward, 1)); }},
    {"sum over", [](Schedule& s) { drop(s.backward, sum_received(s.backward, 2)); }},
    {"sends", [](Schedule& s) { s.forward.hops.push_back(s.forward.hops.front()); }},
    // Another buffer, block, peer or size.
    {"finds block", [](Schedule& s) { std::swap(s.forward.visits[1].buffer, s.forward.visits[2].buffer); }},
    {"overwrites", [](Schedule& s) { block_received(s.backward, 1).buffer = block_received(s.backward, 0).buffer; }},
    {"uses a buffer 3", [](Schedule& s) { s.forward.visits[3].buffer = 3; }},
    {"expects", [](Schedule& s) { block_received(s.forward, 1).block = s.rank; }},
    {"from a buffer with block", [](Schedule& s) { block_sent(s.backward, 1).block = s.rank; }},
    {"which receives", [](Schedule& s) { block_sent(s.forward, 0).peer = (s.rank + 2) % 4; }},
    {"has a peer", [](Schedule& s) { block_sent(s.forward, 0).peer = s.rank; }},
    {"bytes of block", [](Schedule& s) { ++block_sent(s.forward, 1).bytes; }},
    {"overwrites", [](Schedule& s) { s.backward.visits[2].gradient_buffer = s.backward.visits[1].gradient_buffer; }},
    {"overwrites", [](Schedule& s) { sum_received(s.backward, 1).buffer = s.backward.visits[2].gradient_buffer; }},
    // Another time.
    {"overwrites", [](Schedule& s) { --block_received(s.forward, 2).starts; }},
    {"needed before it starts", [](Schedule& s) { ++block_received(s.forward, 1).starts; }},
    {"from a buffer with block", [](Schedule& s) { --block_sent(s.forward, 2).starts; }},
    {"nobody has sent yet", [](Schedule& s) { ++block_sent(s.forward, 1).starts; }},
    {"from a buffer with block", [](Schedule& s) { --sum_sent(s.backward, 0).starts; }},
    {"adds a wrong gradient",
     [](Schedule& s) { sum_received(s.backward, 1).starts = sum_received(s.backward, 1).needed = 1; }},
    {"expects", [](Schedule& s) { std::swap(block_sent(s.backward, 1).starts, block_sent(s.backward, 2).starts); }},
    // Other visits.
    {"makes 3 visits", [](Schedule& s) { s.forward.visits.pop_back(); }},
    {"0 times, not 1", [](Schedule& s) { s.backward.visits.pop_back(); }},
    {"goes to", [](Schedule& s) { std::swap(s.forward.visits[1], s.forward.visits[2]); }},
    {"2 times, not 1", [](Schedule& s) { s.forward.visits[2] = s.forward.visits[1]; }},
    {"wrong about its work", [](Schedule& s) { s.backward.visits[1].has_work = false; }},
    {"readers of", [](Schedule& s) { --s.backward.readers_of_own; }},
    // Other tiles.
    {"1 times, not 0", [](Schedule& s) { --s.tiles[static_cast<size_t>(s.rank)].slices[0].lo; }},
    {"0 times, not 1", [](Schedule& s) { ++s.tiles[0].slices[0].k0; }},
    {"2 times, not 1", [](Schedule& s) { --query_block(s, 2, 1).slice_begin; }},
    {"pairs, not", [](Schedule& s) { ++s.tiles[0].pairs; }},
    {"query rows out of order", [](Schedule& s) { ++query_block(s, 1).row0; }},
    {"0 first", [](Schedule& s) { query_block(s, 0).first = false; }},
    {"2 first", [](Schedule& s) { query_block(s, 2).first = true; }},
    {"work before first", [](Schedule& s) { std::swap(query_block(s, 0).first, query_block(s, 3).first); }},
    {"after last", [](Schedule& s) { std::swap(query_block(s, 1).last, query_block(s, 3).last); }},
};

TEST(FlatRing, TheCheckSeesEveryDamage) {
  for (size_t n = 0; n < kDamages.size(); ++n)
    for (const int rank : {0, 3}) {
      Ring ring = make_ring("striped", 35, 35, 4, causal_mask(35, 35));  // every visit has work
      expect_sound(ring, "undamaged");
      kDamages[n].apply(ring.ranks[static_cast<size_t>(rank)]);
      std::string all;
      for (const std::string& problem : Checker(ring).check()) all += problem + "\n";
      EXPECT_NE(all.find(kDamages[n].problem), std::string::npos)
          << "damage " << n << " on rank " << rank << " should give '" << kDamages[n].problem << "':\n"
          << all;
    }
}

}  // namespace
}  // namespace annulus::test
