// What orders accesses for the race detector, and what does not: histories told to it by hand.

#include "tests/cudasim/race_history.h"

namespace annulus::cudasim {
namespace {

TEST_F(Races, ProgramOrderAndBarriers) {
  write({0, 1}, x_);
  EXPECT_FINE(read({0, 1}, x_));
  EXPECT_RACE(read({0, 2}, x_));
  EXPECT_RACE(write({1, 1}, x_));
  barrier(0, {0, 1, 2});
  EXPECT_FINE(read({0, 2}, x_));
  EXPECT_FINE(read({0, 0}, x_));
  EXPECT_RACE(read({0, 3}, x_));
  EXPECT_RACE(write({0, 2}, x_));  // thread 0 has read it meanwhile
  races_.on_warp_sync(0, std::vector<uint32_t>{0, 2});
  EXPECT_FINE(write({0, 2}, x_));
}

TEST_F(Races, AnArrivalTellsAndIsNotTold) {
  write({0, 1}, x_);
  races_.on_arrival(0, 3, std::vector<uint32_t>{1});
  write({0, 1}, x_ + 16);  // after its arrival
  write({0, 2}, x_ + 32);
  write({0, 9}, x_ + 64);
  races_.on_arrival(0, 3, std::vector<uint32_t>{9});
  races_.on_barrier(0, 3, std::vector<uint32_t>{2});
  EXPECT_FINE(read({0, 2}, x_));
  EXPECT_FINE(read({0, 2}, x_ + 64));
  EXPECT_RACE(read({0, 2}, x_ + 16));
  EXPECT_RACE(read({0, 1}, x_ + 32));
  // The next phase of that barrier begins with nobody's arrival.
  write({0, 4}, x_ + 48);
  races_.on_barrier(0, 3, std::vector<uint32_t>{5});
  EXPECT_RACE(read({0, 5}, x_ + 48));
  EXPECT_RACE(read({0, 5}, x_));
}

// A message from one block to another: data, then a flag.
TEST_F(Races, AMessageNeedsReleaseAndAcquire) {
  struct Case {
    int store, load;
    int fence_before, fence_after;  // 0: none
    bool fine;
  };
  for (const Case& one :
       {Case{kReleases, kAcquires, 0, 0, true}, Case{kRelaxed, kRelaxed, kFence, kFence, true},
        Case{kRelaxed, kAcquires, kFence, 0, true}, Case{kReleases, kRelaxed, 0, kFence, true},
        Case{kRelaxed, kRelaxed, 0, 0, false}, Case{kRelaxed, kRelaxed, kFence, 0, false},
        Case{kRelaxed, kRelaxed, 0, kFence, false}, Case{kReleases, kRelaxed, 0, 0, false},
        Case{kRelaxed, kAcquires, 0, 0, false}, Case{kRelaxed, kRelaxed, kFenceOfBlock, kFence, false},
        Case{kRelaxed, kRelaxed, kFence, kFenceOfBlock, false}}) {
    start();
    write({0, 1}, data_);
    if (one.fence_before != 0) fence({0, 1}, one.fence_before);
    write({0, 1}, flag_, one.store);
    read({1, 7}, flag_, one.load);
    if (one.fence_after != 0) fence({1, 7}, one.fence_after);
    if (one.fine)
      EXPECT_FINE(read({1, 7}, data_)) << one.store << " " << one.load;
    else
      EXPECT_RACE(read({1, 7}, data_)) << one.store << " " << one.load;
  }
}

TEST_F(Races, AReleaseCoversWhatWasBeforeItAlone) {
  write({0, 1}, flag_, kReleases);
  write({0, 1}, data_);
  read({1, 7}, flag_, kAcquires);
  EXPECT_RACE(read({1, 7}, data_));
}

TEST_F(Races, MessagesTellOfMessages) {
  write({0, 1}, data_);
  write({0, 1}, flag_, kReleases);
  read({1, 1}, flag_, kAcquires);
  write({1, 1}, x_, kReleases);
  read({2, 1}, x_, kAcquires);
  EXPECT_FINE(read({2, 1}, data_));
  EXPECT_RACE(read({2, 2}, data_));
}

TEST_F(Races, WithinABlockItsScopeIsEnough) {
  write({0, 1}, data_);
  write({0, 1}, flag_, kReleasesInBlock);
  read({0, 7}, flag_, kAcquiresInBlock);
  EXPECT_FINE(read({0, 7}, data_));
  EXPECT_RACE(read({1, 0}, flag_, kAcquiresInBlock));  // not even the flag's own accesses are ordered
}

// A fence for the block after one for all takes nothing back.
TEST_F(Races, TheWiderFenceStays) {
  write({0, 1}, data_);
  fence({0, 1});
  fence({0, 1}, kFenceOfBlock);
  write({0, 1}, flag_, kRelaxed);
  read({1, 7}, flag_, kAcquires);
  EXPECT_FINE(read({1, 7}, data_));
}

// Block 1 has heard of block 0; what it releases for itself alone is nothing for block 0.
TEST_F(Races, AReleaseWithinABlockDoesNotLeaveIt) {
  write({0, 1}, flag_, kReleases);
  read({1, 1}, flag_, kAcquires);
  write({1, 1}, data_);
  fence({1, 1}, kFenceOfBlock);
  write({1, 1}, flag_, kRelaxed);
  read({0, 2}, flag_, kAcquires);
  EXPECT_RACE(read({0, 2}, data_));
}

TEST_F(Races, AtomicsContinueAReleaseAndStoresEndIt) {
  for (const bool store : {false, true}) {
    start();
    write({0, 1}, data_);
    write({0, 1}, flag_, kReleases);
    if (store)
      write({1, 1}, flag_, kRelaxed);
    else
      atomic({1, 1}, flag_);
    read({2, 1}, flag_, kAcquires);
    if (store)
      EXPECT_RACE(read({2, 1}, data_));
    else
      EXPECT_FINE(read({2, 1}, data_));
  }
}

// Threads fence what they wrote, meet, and one of them counts; in the last block one sees it, all meet and then fence.
TEST_F(Races, AFenceCountsAcrossABarrier) {
  for (const bool fenced : {true, false}) {
    start();
    write({0, 1}, data_);
    if (fenced) fence({0, 1});
    barrier(0, {0, 1});
    atomic({0, 0}, flag_);
    atomic({1, 0}, flag_);
    barrier(1, {0, 1});
    fence({1, 1});
    if (fenced)
      EXPECT_FINE(read({1, 1}, data_));
    else
      EXPECT_RACE(read({1, 1}, data_));
  }
}

TEST_F(Races, WhoSeesAStrongWriteComesAfterIt) {
  for (uint32_t block = 0; block < 4; ++block) atomic({block, 0}, flag_);
  EXPECT_RACE(write({2, 0}, flag_));  // the last atomic is block 3's
  EXPECT_RACE(write({3, 1}, flag_));
  EXPECT_FINE(write({3, 0}, flag_));

  start();
  write({0, 0}, flag_, kRelaxed);
  EXPECT_RACE(write({1, 0}, flag_));
  read({1, 0}, flag_, kRelaxed);
  EXPECT_RACE(write({1, 1}, flag_));
  EXPECT_FINE(write({1, 0}, flag_));
}

TEST_F(Races, OnlyTheStrongWriteThatWasSeen) {
  atomic({0, 0}, flag_);
  read({1, 0}, flag_, kRelaxed);
  atomic({2, 0}, flag_);
  EXPECT_RACE(write({1, 0}, flag_));

  start();
  write({0, 0}, flag_, kRelaxed);
  write({1, 0}, flag_, kRelaxed);
  EXPECT_RACE(write({1, 0}, flag_));  // it has not seen what it replaced
}

// Another block's counting does not tell of who made the counter zero.
TEST_F(Races, AnAtomicDoesNotHideAWriteBeforeIt) {
  write({0, 1}, flag_);
  barrier(0, {1, 2});
  atomic({0, 2}, flag_);
  EXPECT_RACE(atomic({1, 0}, flag_));
  EXPECT_RACE(read({1, 0}, flag_, kRelaxed));
}

TEST_F(Races, AtomicsOfABlockAloneRaceWithOthers) {
  atomic({0, 0}, flag_, kRelaxedInBlock);
  EXPECT_FINE(atomic({0, 1}, flag_, kRelaxed));
  EXPECT_RACE(atomic({1, 0}, flag_, kRelaxedInBlock));
  start();
  atomic({0, 0}, flag_, kRelaxed);
  EXPECT_FINE(atomic({1, 0}, flag_, kRelaxed));
  EXPECT_RACE(atomic({2, 0}, flag_, kRelaxedInBlock));
}

TEST_F(Races, MixedWithOrdinaryAccesses) {
  atomic({0, 0}, flag_);
  EXPECT_RACE(read({0, 1}, flag_));
  EXPECT_RACE(write({0, 1}, flag_));
  start();
  read({0, 0}, data_);
  EXPECT_RACE(atomic({0, 1}, data_));
  EXPECT_FINE(read({0, 1}, data_, kRelaxed));
}

TEST_F(Races, NeighbouringBytesAreNotOne) {
  for (uint32_t i = 0; i < 16; ++i) write({0, i}, x_ + i, kPlain, 1);
  EXPECT_RACE(read({0, 0}, x_, kPlain, 16));
  write({0, 0}, x_ + 32, kPlain, 16);
  EXPECT_RACE(read({0, 1}, x_ + 47, kPlain, 1));
  EXPECT_FINE(read({0, 1}, x_ + 48, kPlain, 1));
}

// Cells become smaller and keep what they know.
TEST_F(Races, CellsThatAreSplitRemember) {
  for (const uint32_t bytes : {8, 4, 2, 1}) {
    const uint64_t y = memory_.allocate(70, "y");
    races_.touch(y, 70, Kind::kWrite);
    start();
    write({0, 0}, y + 16, kPlain, 16);
    read({0, 0}, y + 64, kPlain, 4);
    write({0, 1}, y + 40, kPlain, bytes);
    for (uint64_t at = 16; at < 32; at += bytes) EXPECT_RACE(read({0, 1}, y + at, kPlain, bytes)) << bytes;
    EXPECT_FINE(read({0, 1}, y + 32, kPlain, bytes));
    EXPECT_RACE(write({0, 1}, y + 64, kPlain, bytes)) << bytes;
    EXPECT_RACE(write({1, 0}, y + 40, kPlain, bytes)) << bytes;
  }
}

TEST_F(Races, CopiesAreActorsOfTheirOwn) {
  const ThreadId me{0, 5};
  write(me, x_);
  write(me, 128);
  const uint64_t first = issue(me);
  land(first, me, 128, x_);
  EXPECT_RACE(read(me, 128));
  EXPECT_RACE(write(me, x_));  // the source may still be read
  races_.on_copy_waited(me, first);
  EXPECT_FINE(read(me, 128));
  EXPECT_RACE(read({0, 6}, 128));  // the wait is its thread's alone
  barrier(0, {5, 6});
  EXPECT_FINE(read({0, 6}, 128));
  EXPECT_FINE(write(me, x_));
  const uint64_t second = issue(me), third = issue(me);
  EXPECT_RACE(land(second, me, 128, x_ + 16));  // thread 6 may still be reading there
  EXPECT_FINE(land(second, me, 64, x_ + 16));
  EXPECT_RACE(land(third, me, 64, x_ + 32));
}

TEST_F(Races, ACopyKnowsWhatWasWaitedForWhenItWasIssued) {
  const ThreadId me{0, 5};
  const uint64_t first = issue(me);
  land(first, me, 128, x_);
  const uint64_t second = issue(me);
  races_.on_copy_waited(me, first);
  EXPECT_RACE(land(second, me, 128, x_));
  const uint64_t third = issue(me);
  EXPECT_FINE(land(third, me, 128, x_));
  const uint64_t fourth = issue(me);
  write(me, x_ + 64);
  EXPECT_RACE(land(fourth, me, 192, x_ + 64));
}

// However many have read a word, the one that a writer does not know of is found.
TEST_F(Races, OneReaderOfMany) {
  for (const int promise : {kPlain, kRelaxed}) {
    for (uint32_t stranger = 1; stranger < kThreads; stranger += 7) {
      start();
      const uint64_t y = memory_.allocate(4, "y");
      for (int round = 0; round < 3; ++round)
        for (uint32_t thread = 0; thread < kThreads; ++thread) read({0, thread}, y, promise);
      std::vector<uint32_t> others;
      for (uint32_t thread = 0; thread < kThreads; ++thread)
        if (thread != stranger) others.push_back(thread);
      barrier(0, others);
      for (uint32_t thread = 0; thread < kThreads; ++thread)  // thins the list out again
        if (thread != stranger) read({0, thread}, y, promise);
      barrier(0, others);
      EXPECT_RACE(write({0, 0}, y)) << stranger;
      races_.on_warp_sync(0, std::vector<uint32_t>{0, stranger});
      EXPECT_FINE(write({0, 0}, y)) << stranger;
    }
  }
}

// One reader's last read counts, not its first, which the writer knows of.
TEST_F(Races, TheLastReadOfAReader) {
  std::vector<uint32_t> others = {0};
  read({0, 1}, data_);  // has a place of its own
  read({0, 50}, data_);
  races_.on_warp_sync(0, std::vector<uint32_t>{0, 50});
  read({0, 50}, data_);
  for (uint32_t thread = 60; thread < 100; ++thread) read({0, thread}, data_), others.push_back(thread);
  others.push_back(1);
  barrier(0, others);
  EXPECT_RACE(write({0, 0}, data_));
}

TEST_F(Races, OperationsAreOrderedByTheirClocks) {
  races_.begin("first", 0, {1});
  start();
  write({0, 3}, x_);
  read({0, 3}, data_);
  races_.begin("second", 1, {0, 1});  // knows nothing of the first
  start();
  EXPECT_RACE(read({0, 3}, x_));  // the same thread of the same block, of another kernel
  EXPECT_RACE(races_.touch(data_, 4, Kind::kWrite));
  EXPECT_FINE(races_.touch(data_, 4, Kind::kRead));
  races_.begin("third", 2, {1, 0, 1});
  start();
  EXPECT_FINE(read({5, 9}, x_));
  EXPECT_RACE(write({5, 9}, data_));  // the second one's read
  races_.begin("fourth", 0, {2, 1, 1});
  EXPECT_FINE(races_.touch(data_, 4, Kind::kWrite));
  EXPECT_FINE(races_.touch(x_, 16, Kind::kWrite));
}

// Blocks of two kernels have the same numbers, and are not the same.
TEST_F(Races, ScopesOfTwoKernels) {
  races_.begin("first", 0, {1});
  start();
  atomic({0, 3}, flag_, kRelaxedInBlock);
  atomic({0, 3}, data_);
  races_.begin("second", 1, {0, 1});
  start();
  EXPECT_RACE(atomic({0, 3}, flag_, kRelaxedInBlock));
  EXPECT_FINE(atomic({0, 3}, data_));
}

// Readers of many operations: all that one did is told by one of its reads.
TEST_F(Races, ReadersOfManyOperations) {
  for (uint32_t queue = 0; queue < 40; ++queue) {
    QueueClock clock(queue + 1);
    clock[queue] = 1;
    races_.begin("reader", queue, clock);
    start();
    for (uint32_t thread = 0; thread < 20; ++thread) read({thread % 3, thread}, data_);
  }
  for (uint32_t missing = 0; missing < 40; missing += 3) {
    QueueClock clock(41, 1);
    clock[missing] = 0;
    races_.begin("writer", 40, clock);
    EXPECT_RACE(races_.touch(data_, 4, Kind::kWrite)) << missing;
  }
  races_.begin("writer", 40, QueueClock(41, 2));
  EXPECT_FINE(races_.touch(data_, 4, Kind::kWrite));
}

TEST_F(Races, SharedMemoryIsItsBlocksOwn) {
  write({0, 1}, 16);
  EXPECT_FINE(write({1, 2}, 16));
  races_.on_block_end(0);
  races_.on_block_begin(0, 1024);
  EXPECT_FINE(write({0, 2}, 16));
}

}  // namespace
}  // namespace annulus::cudasim
