// Groups of threads as ranks: messages, collectives, splits, and what happens when a rank fails or never answers.
#include "comm/group.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <string>
#include <thread>

#include "runtime/core/error.h"
#include "tests/support/ranks.h"

namespace annulus::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kMostRanks = 7;
constexpr double kPromptSeconds = 5.0;  // of a test time limit of 60

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

// Runs `body` on 1 to 7 ranks.
void on_every_size(const std::function<void(Group&)>& body) {
  for (int size = 1; size <= kMostRanks; ++size) {
    SCOPED_TRACE(concat(size, " ranks"));
    run_ranks(size, body);
  }
}

std::vector<char> pattern(int64_t bytes, int seed) {
  std::vector<char> data(static_cast<size_t>(bytes));
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<char>((i * 131 + static_cast<size_t>(seed) * 17) % 251);
  return data;
}

TEST(Group, RanksAreNumberedFromZero) {
  for (int size = 1; size <= kMostRanks; ++size) {
    std::vector<int> seen(static_cast<size_t>(size));
    run_ranks(size, [&](Group& group) {
      EXPECT_EQ(group.size(), size);
      EXPECT_EQ(group.world_rank(group.rank()), group.rank());
      EXPECT_STREQ(group.kind(), "in-process");
      ++seen[static_cast<size_t>(group.rank())];
    });
    EXPECT_EQ(seen, std::vector<int>(static_cast<size_t>(size), 1));
  }
}

TEST(Group, BroadcastReachesEveryRankFromEveryRoot) {
  on_every_size([](Group& group) {
    for (int root = 0; root < group.size(); ++root) {
      std::vector<char> data = group.rank() == root ? pattern(1000, root) : std::vector<char>(1000);
      group.broadcast(data.data(), 1000, root, "bytes");
      EXPECT_EQ(data, pattern(1000, root));
      for (const std::string& text : {std::string(), std::string("ring"), std::string("a\0b", 3)})
        EXPECT_EQ(group.broadcast(group.rank() == root ? text : "other", root, "text"), text);
    }
  });
}

TEST(Group, AllGatherIsInRankOrder) {
  on_every_size([](Group& group) {
    const std::vector<int64_t> numbers = group.all_gather(int64_t{-5} + group.rank() * (int64_t{1} << 40), "numbers");
    const std::vector<double> reals = group.all_gather(0.1 * group.rank(), "reals");
    ASSERT_EQ(numbers.size(), static_cast<size_t>(group.size()));
    ASSERT_EQ(reals.size(), numbers.size());
    for (int r = 0; r < group.size(); ++r) {
      EXPECT_EQ(numbers[static_cast<size_t>(r)], -5 + r * (int64_t{1} << 40));
      EXPECT_EQ(reals[static_cast<size_t>(r)], 0.1 * r);
    }
  });
}

// Terms of very different size: almost every order of adding them gives other bits.
double term(int rank, int element) { return std::ldexp(1.0 / (3 + 7 * rank + element), 11 * ((3 * rank + 2) % 4)); }

double sum_of_terms(int size, int element) {
  double sum = 0.0;
  for (int rank = 0; rank < size; ++rank) sum += term(rank, element);
  return sum;
}

TEST(Group, SumsAddInRankOrderBitForBit) {
  on_every_size([](Group& group) {
    const int size = group.size();
    EXPECT_EQ(group.sum(term(group.rank(), 0), "reals"), sum_of_terms(size, 0));
    std::vector<double> values(11), expected(11);
    for (int i = 0; i < 11; ++i) values[static_cast<size_t>(i)] = term(group.rank(), i);
    for (int i = 0; i < 11; ++i) expected[static_cast<size_t>(i)] = sum_of_terms(size, i);
    group.sum_in_place(values, "vectors");
    EXPECT_EQ(values, expected);
    group.sum_in_place({}, "nothing");
    EXPECT_EQ(group.sum(int64_t{1} << group.rank(), "integers"), (int64_t{1} << size) - 1);
  });
  for (int size = 3; size <= kMostRanks; ++size) {  // the terms do tell orders apart
    bool differs = false;
    for (int i = 0; i < 11; ++i) {
      double backwards = 0.0;
      for (int rank = size - 1; rank >= 0; --rank) backwards += term(rank, i);
      differs |= backwards != sum_of_terms(size, i);
    }
    EXPECT_TRUE(differs) << size;
  }
}

TEST(Group, MaxIsTheLargestOnEveryRank) {
  on_every_size([](Group& group) {
    EXPECT_EQ(group.max(int64_t{group.rank()}, "ranks"), group.size() - 1);
    EXPECT_EQ(group.max(-(int64_t{1} << 40) - group.rank(), "negative"), -(int64_t{1} << 40));
  });
}

TEST(Group, GatherKeepsEmptyTextsAndOnlyTheRootHasThem) {
  on_every_size([](Group& group) {
    auto text = [](int rank) {
      return rank % 2 == 0 ? std::string() : std::string(static_cast<size_t>(rank * 9), 'x');
    };
    for (int root = 0; root < group.size(); ++root) {
      const std::vector<std::string> all = group.gather(text(group.rank()), root, "texts");
      ASSERT_EQ(all.size(), group.rank() == root ? static_cast<size_t>(group.size()) : size_t{0});
      for (size_t r = 0; r < all.size(); ++r) EXPECT_EQ(all[r], text(static_cast<int>(r)));
    }
  });
}

TEST(Group, NobodyLeavesABarrierBeforeAllHaveCome) {
  for (int size = 1; size <= kMostRanks; ++size) {
    std::atomic<int> arrived{0};
    run_ranks(size, [&](Group& group) {
      for (int round = 1; round <= 3; ++round) {
        if (group.rank() == round % size) std::this_thread::sleep_for(milliseconds(3));
        ++arrived;
        group.barrier("a barrier");
        EXPECT_GE(arrived.load(), round * size);
      }
    });
  }
}

TEST(Group, SplitGivesEachColourItsOwnRanks) {
  on_every_size([](Group& world) {
    const int colour = world.rank() % 3;
    const auto part = world.split(colour);
    EXPECT_EQ(part->size(), (world.size() - colour + 2) / 3);
    EXPECT_EQ(part->rank(), world.rank() / 3);
    for (int r = 0; r < part->size(); ++r) EXPECT_EQ(part->world_rank(r), colour + 3 * r);
    EXPECT_EQ(part->limits().timeout_seconds, world.limits().timeout_seconds);

    int64_t expected = 0;
    for (int r = colour; r < world.size(); r += 3) expected += r;
    EXPECT_EQ(part->sum(int64_t{world.rank()}, "a colour"), expected);

    // Once more: ranks of a part of a part still know their number in the world.
    const auto one = part->split(part->rank());
    EXPECT_EQ(one->size(), 1);
    EXPECT_EQ(one->world_rank(0), world.rank());
    const auto pair = part->split(part->rank() / 2);
    for (int r = 0; r < pair->size(); ++r) EXPECT_EQ(pair->world_rank(r), colour + 3 * (part->rank() / 2 * 2 + r));
    EXPECT_EQ(pair->all_gather(int64_t{world.rank()}, "pairs").front(), pair->world_rank(0));

    // Groups side by side, in any order of use.
    EXPECT_EQ(world.max(int64_t{world.rank()}, "the world"), world.size() - 1);
    EXPECT_EQ(part->max(int64_t{part->rank()}, "a part"), part->size() - 1);
  });
}

TEST(Group, APartOutlivesTheGroupItWasSplitFrom) {
  run_ranks(4, [](Group& world) {
    std::unique_ptr<Group> inner = world.split(world.rank() / 2)->split(0);
    EXPECT_EQ(inner->sum(int64_t{world.rank()}, "a part"), world.rank() < 2 ? 1 : 5);
  });
}

// Rank 0 sends rank 1 `sizes[i]` bytes each and rank 1 answers with the same, all in one exchange.
TEST(Group, MessagesToOnePeerKeepTheirOrder) {
  const std::vector<int64_t> sizes = {1, 0, 300, 0, 70'000, 8, 3'000'000, 0};
  run_ranks(2, [&](Group& group) {
    const int peer = 1 - group.rank();
    for (int round = 0; round < 3; ++round) {
      std::vector<std::vector<char>> out, in;
      std::vector<Group::Outgoing> sends;
      std::vector<Group::Incoming> receives;
      for (size_t i = 0; i < sizes.size(); ++i) {
        out.push_back(pattern(sizes[i], group.rank() * 100 + static_cast<int>(i)));
        in.emplace_back(static_cast<size_t>(sizes[i]));
      }
      for (size_t i = 0; i < sizes.size(); ++i) {
        sends.push_back({peer, out[i].data(), sizes[i]});
        receives.push_back({peer, in[i].data(), sizes[i]});
      }
      group.exchange(sends, receives, "messages");
      for (size_t i = 0; i < sizes.size(); ++i) EXPECT_EQ(in[i], pattern(sizes[i], peer * 100 + static_cast<int>(i)));
    }
  });
}

TEST(Group, EveryRankMaySendToEveryOtherAtOnce) {
  on_every_size([](Group& group) {
    std::vector<int> out, in(static_cast<size_t>(2 * group.size()), -1);
    for (int i = 0; i < 2 * group.size(); ++i) out.push_back(1000 * group.rank() + i);
    std::vector<Group::Outgoing> sends;
    std::vector<Group::Incoming> receives;
    // Two messages for each, the peers of the receives in another order than those of the sends.
    for (int i = 0; i < 2 * group.size(); ++i) {
      const int to = i % group.size(), from = group.size() - 1 - i % group.size();
      if (to != group.rank()) sends.push_back({to, &out[static_cast<size_t>(i)], sizeof(int)});
      const int number = i < group.size() ? from : from + group.size();
      if (from != group.rank()) receives.push_back({from, &in[static_cast<size_t>(number)], sizeof(int)});
    }
    group.exchange(sends, receives, "everybody");
    for (int from = 0; from < group.size(); ++from)
      for (int n = 0; n < 2 && from != group.rank(); ++n)
        EXPECT_EQ(in[static_cast<size_t>(from + n * group.size())], 1000 * from + group.rank() + n * group.size());
  });
}

TEST(Group, AnExceptionEndsTheWaitsOfTheOthersAndIsTheOneThrown) {
  for (int size = 1; size <= kMostRanks; ++size)
    for (const int failing : {0, size / 2, size - 1}) {
      const auto begin = steady_clock::now();
      try {
        run_ranks(size, [&](Group& group) {
          if (group.rank() == failing) fail(ExitCode::kData, "rank ", failing, " has had enough");
          group.barrier("a barrier that the failing rank never reaches");
          group.barrier("another, since a rank may pass the first");
          int never = 0;
          const Group::Incoming receive = {failing, &never, sizeof never};
          group.exchange({}, {&receive, 1}, "a message that never comes");
          ADD_FAILURE() << "rank " << group.rank() << " went on";
        });
        ADD_FAILURE() << "nothing was thrown";
      } catch (const UserError& error) {
        EXPECT_EQ(std::string(error.what()), concat("rank ", failing, " has had enough"));
        EXPECT_EQ(error.code(), ExitCode::kData);
      }
      EXPECT_LT(seconds_since(begin), kPromptSeconds);
    }
}

TEST(Group, OfSeveralFailuresTheLowestRankIsThrown) {
  try {
    run_ranks(5, [](Group& group) {
      if (group.rank() == 0 || group.rank() == 4) group.barrier("a barrier");
      std::this_thread::sleep_for(milliseconds(5 * (4 - group.rank())));  // the lowest fails last
      fail(ExitCode::kData, "rank ", group.rank());
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "rank 1");
  }
}

TEST(Group, ARankThatNeverAnswersIsNamedAfterTheTimeLimit) {
  for (const bool sending : {false, true}) {
    const auto begin = steady_clock::now();
    try {
      run_ranks(3, [&](Group& world) {
        const auto group = world.split(world.rank() == 0 ? 1 : 0);  // ranks 1 and 2 of the world are 0 and 1 here
        if (world.rank() == 0) return;
        if (group->rank() == 1) {  // hangs until the other has given up
          int never = 0;
          const Group::Incoming receive = {0, &never, sizeof never};
          world.exchange({}, {&receive, 1}, "a message that never comes");
        }
        group->set_timeout(0.1);
        int value = 0;
        const Group::Incoming receive = {1, &value, sizeof value};
        const Group::Outgoing send = {1, &value, sizeof value};
        group->exchange({&send, sending ? size_t{1} : size_t{0}}, {&receive, sending ? size_t{0} : size_t{1}},
                        "the size of the batch");
        ADD_FAILURE() << "the exchange ended";
      });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kPeer);
      for (const std::string part : {"the size of the batch", "rank 2"})
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
    EXPECT_LT(seconds_since(begin), kPromptSeconds);
  }
}

TEST(Group, MessagesThatDisagreeInSizeAreABug) {
  EXPECT_THROW(run_ranks(2,
                         [](Group& group) {
                           int64_t data = 0;
                           const Group::Outgoing send = {1, &data, 8};
                           const Group::Incoming receive = {0, &data, 4};
                           if (group.rank() == 0) group.exchange({&send, 1}, {}, "eight bytes");
                           if (group.rank() == 1) group.exchange({}, {&receive, 1}, "four bytes");
                         }),
               std::logic_error);
}

// What rank 0 had posted before it gave up is freed: a rank that comes later must not read it.
TEST(Group, AMessageOfARankThatGaveUpIsNotRead) {
  std::atomic<bool> gave_up{false};
  auto send_and_give_up = [&](Group& group) {
    const std::vector<char> data(32 << 20);  // so large that its pages are unmapped when it is freed
    const Group::Outgoing send = {1, data.data(), static_cast<int64_t>(data.size())};
    group.exchange({&send, 1}, {}, "a message that nobody takes in time");
    ADD_FAILURE() << "the message was taken";
  };
  auto come_late = [&](Group& group) {
    while (!gave_up) std::this_thread::sleep_for(milliseconds(1));
    std::vector<char> data(32 << 20);
    const Group::Incoming receive = {0, data.data(), static_cast<int64_t>(data.size())};
    group.exchange({}, {&receive, 1}, "a message that is gone");
    ADD_FAILURE() << "received a message that was taken back";
  };
  try {
    run_ranks(3, [&](Group& group) {
      if (group.rank() == 1) come_late(group);
      if (group.rank() == 2) fail(ExitCode::kData, "rank 2 fails");
      try {
        send_and_give_up(group);
      } catch (...) {
        gave_up = true;
        throw;
      }
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "rank 2 fails");
  }
}

}  // namespace
}  // namespace annulus::test
