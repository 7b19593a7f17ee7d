// How ranks of one node divide its cores, and that the threads of their kernels then run there.
#include "runtime/cores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "kernels/cpu/parallel.h"

namespace annulus::test {
namespace {

using Cores = std::vector<int>;

Cores range(int first, int count) {
  Cores cores(static_cast<size_t>(count));
  std::iota(cores.begin(), cores.end(), first);
  return cores;
}

TEST(Cores, UnboundRanksGetNeighbouringCoresEqually) {
  EXPECT_EQ(share_cores({range(0, 2)}, 0), (std::vector<CoreShare>{{{0, 1}, 2}}));
  EXPECT_EQ(share_cores({range(0, 2), range(0, 2)}, 0), (std::vector<CoreShare>{{{0}, 1}, {{1}, 1}}));
  EXPECT_EQ(share_cores({range(4, 8), range(4, 8)}, 0), (std::vector<CoreShare>{{range(4, 4), 4}, {range(8, 4), 4}}));
}

TEST(Cores, AnOddCoreIsARanksToo) {
  const Cores all = range(0, 4);
  EXPECT_EQ(share_cores({all, all, all}, 0), (std::vector<CoreShare>{{{0}, 1}, {{1}, 1}, {{2, 3}, 1}}));
}

TEST(Cores, MoreRanksThanCoresTakeTurns) {
  const Cores both = {0, 1};
  const auto shares = share_cores({both, both, both, both}, 0);
  EXPECT_EQ(shares, (std::vector<CoreShare>{{{0}, 1}, {{0}, 1}, {{1}, 1}, {{1}, 1}}));
  EXPECT_EQ(core_text(shares), "4 ranks x 1 thread on cores 0 | 0 | 1 | 1: 4 threads take turns on 2 cores");
}

TEST(Cores, BoundRanksKeepWhatTheLauncherGaveThem) {
  const auto shares = share_cores({{1, 3}, {0, 2}}, 0);
  EXPECT_EQ(shares, (std::vector<CoreShare>{{{1, 3}, 2}, {{0, 2}, 2}}));
  EXPECT_EQ(core_text(shares), "2 ranks x 2 threads on cores 1,3 | 0,2");
}

TEST(Cores, AWiderWishYieldsToANarrowOne) {
  EXPECT_EQ(share_cores({{0, 1}, {0}}, 0), (std::vector<CoreShare>{{{1}, 1}, {{0}, 1}}));
  EXPECT_EQ(share_cores({{0, 5, 6, 7}, {0}, {5, 6, 7}, {5, 6, 7}}, 0)[1], (CoreShare{{0}, 1}));
  EXPECT_EQ(share_cores({{0}, {1}, {0, 1}}, 0), (std::vector<CoreShare>{{{0}, 1}, {{1}, 1}, {{0, 1}, 1}}));
}

TEST(Cores, ThreadsThatWereAskedForAreGivenAndMoreThanCoresIsSaid) {
  const auto shares = share_cores({range(0, 2), range(0, 2)}, 3);
  EXPECT_EQ(shares, (std::vector<CoreShare>{{{0}, 3}, {{1}, 3}}));
  EXPECT_EQ(core_text(shares), "2 ranks x 3 threads on cores 0 | 1: 6 threads take turns on 2 cores");
  EXPECT_EQ(core_text(share_cores({range(0, 8)}, 2)), "1 rank x 2 threads on cores 0-7");
}

// Whatever the masks: no core is lost, no rank gets one that it may not use, and where ranks share one it is said.
TEST(Cores, EveryCoreIsGiven) {
  for (unsigned masks = 1; masks < 4096; ++masks) {
    std::vector<Cores> allowed;
    for (const unsigned mask : {masks & 15u, (masks >> 4) & 15u, masks >> 8}) {
      Cores cores;
      for (int core = 0; core < 4; ++core)
        if (mask >> core & 1u) cores.push_back(core);
      if (!cores.empty()) allowed.push_back(cores);
    }
    std::map<int, int> given;
    std::set<int> wanted;
    const auto shares = share_cores(allowed, 0);
    for (size_t rank = 0; rank < allowed.size(); ++rank) {
      const std::set<int> may(allowed[rank].begin(), allowed[rank].end());
      wanted.insert(may.begin(), may.end());
      EXPECT_GE(shares[rank].cores.size(), static_cast<size_t>(shares[rank].threads)) << masks;
      for (const int core : shares[rank].cores) {
        EXPECT_TRUE(may.contains(core)) << masks;
        ++given[core];
      }
    }
    EXPECT_EQ(given.size(), wanted.size()) << masks;
    const bool shared = std::any_of(given.begin(), given.end(), [](const auto& entry) { return entry.second > 1; });
    EXPECT_TRUE(!shared || core_text(shares).find("take turns") != std::string::npos) << masks;
  }
}

TEST(Cores, ThreadsOfARankRunOnItsCores) {
  const Cores mine = usable_cores();
  if (mine.size() < 2) GTEST_SKIP() << "one core";
  const Cores two = {mine[0], mine[1]};
  std::map<int, Cores> cores_of;  // by thread
  std::thread([&] {               // what is bound here stays here
    ASSERT_TRUE(cpu::set_team(2, two));
    std::mutex mutex;
    for (int wait = 0; wait < 1000 && cores_of.size() < 2; ++wait)
      cpu::parallel_for(2, [&](int64_t, int thread) {
        const Cores seen = usable_cores();
        const std::lock_guard lock(mutex);
        cores_of[thread] = seen;
      });
  })
      .join();
  EXPECT_EQ(cores_of[0], two);  // the rank itself finds the free one
  EXPECT_EQ(cores_of[1], Cores{two[1]});
  EXPECT_EQ(usable_cores(), mine);
}

}  // namespace
}  // namespace annulus::test
