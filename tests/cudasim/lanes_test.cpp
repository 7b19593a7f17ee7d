// What the lanes of a warp do with one another: shuffles, votes, waiting, going apart.

#include <gtest/gtest.h>

#include <bit>
#include <functional>

#include "tests/cudasim/expectations.h"
#include "tests/cudasim/machine.h"

namespace annulus::cudasim {
namespace {

// The results of one warp, whose lanes have these inputs.
void expect_warp(const std::string& body, const char* result, const std::function<uint32_t(uint32_t)>& expected,
                 const std::function<uint64_t(uint32_t)>& a) {
  std::vector<Inputs> inputs(32);
  for (uint32_t lane = 0; lane < 32; ++lane) inputs[lane] = {a(lane), 3, lane};
  const std::vector<uint64_t> got = run_snippet(body, result, "u32", inputs);
  for (uint32_t lane = 0; lane < 32; ++lane) EXPECT_EQ(got[lane], expected(lane)) << body << "\nlane " << lane;
}

// Segments of eight lanes; a lane whose source lies outside keeps its own value.
TEST(Lanes, Shuffle) {
  const auto a = [](uint32_t lane) -> uint64_t { return 100 + 7 * lane; };
  const auto check = [&](const char* mode, uint32_t by, uint32_t c, const std::function<int(int)>& from) {
    const std::string body = std::string("shfl.sync.") + mode + ".b32 %r4|%p1, %r1, " + std::to_string(by) + ", " +
                             std::to_string(c) + ", -1; selp.u32 %r5, 1000, 0, %p1; add.u32 %r9, %r4, %r5;";
    expect_warp(
        body, "%r9",
        [&](uint32_t lane) {
          const int source = from(static_cast<int>(lane));
          return static_cast<uint32_t>(a(source < 0 ? lane : static_cast<uint32_t>(source))) + (source < 0 ? 0 : 1000);
        },
        a);
  };
  constexpr uint32_t kSegments = 0x1800;
  check("up", 3, kSegments, [](int lane) { return lane % 8 < 3 ? -1 : lane - 3; });
  check("down", 3, kSegments | 7, [](int lane) { return lane % 8 > 4 ? -1 : lane + 3; });
  check("bfly", 5, kSegments | 7, [](int lane) { return lane ^ 5; });
  check("bfly", 9, kSegments | 7, [](int lane) { return (lane & 8) == 0 ? -1 : lane ^ 9; });
  check("idx", 11, kSegments | 7, [](int lane) { return (lane & ~7) + 3; });
  check("idx", 6, kSegments | 5, [](int) { return -1; });
}

// The halves of the warp are at the same instruction but no company: their masks say so.
TEST(Lanes, MasksDivideAWarp) {
  const std::string masks =
      "setp.lt.u32 %p1, %r3, 16; selp.b32 %r4, 0xffff, 0xffff0000, %p1; setp.ne.u32 %p2, %r1, 0;\n";
  const auto odd = [](uint32_t lane) -> uint64_t { return lane & 1; };
  expect_warp(
      masks + "vote.sync.ballot.b32 %r9, %p2, %r4;", "%r9",
      [](uint32_t lane) { return lane < 16 ? 0xaaaau : 0xaaaa0000u; }, odd);
  expect_warp(
      masks + "match.any.sync.b32 %r9, %r1, %r4;", "%r9",
      [](uint32_t lane) { return (lane & 1 ? 0xaaaaaaaau : 0x55555555u) & (lane < 16 ? 0xffffu : ~0xffffu); }, odd);
  expect_warp(
      masks + "match.any.sync.b32 %r1, %r1, %r4; mov.u32 %r9, %r1;", "%r9",
      [](uint32_t lane) { return (lane & 1 ? 0xaaaaaaaau : 0x55555555u) & (lane < 16 ? 0xffffu : ~0xffffu); }, odd);
  expect_warp(
      masks + "redux.sync.add.u32 %r9, %r3, %r4;", "%r9", [](uint32_t lane) { return lane < 16 ? 120u : 376u; }, odd);
  const auto upper = [](uint32_t lane) -> uint64_t { return lane < 16 ? 0 : lane & 1; };
  const std::string votes =
      "selp.u32 %r9, 1, 0, %p3; selp.u32 %r8, 2, 0, %p4; selp.u32 %r7, 4, 0, %p5;\n"
      "add.u32 %r9, %r9, %r8; add.u32 %r9, %r9, %r7;";
  expect_warp(
      masks +
          "vote.sync.uni.pred %p3, %p2, %r4; vote.sync.any.pred %p4, %p2, %r4;\n"
          "vote.sync.all.pred %p5, !%p2, %r4;" +
          votes,
      "%r9", [](uint32_t lane) { return lane < 16 ? 5u : 2u; }, upper);
  expect_warp(
      masks + "match.all.sync.b32 %r9|%p3, %r1, %r4;", "%r9", [](uint32_t lane) { return lane < 16 ? 0xffffu : 0u; },
      upper);
}

TEST(Lanes, WhoIsNotInItsMaskIsReported) {
  Machine machine(kernel("vote.sync.ballot.b32 %r1, %p1, 0xfffffffe;"));
  EXPECT_EQ(machine.fault(arguments(machine.memory.allocate(128, "out"))).kind(), FaultKind::kDivergence);
}

TEST(Lanes, MatricesNeedTheWholeWarp) {
  Machine machine(
      kernel(".shared .align 16 .b8 tile[128]; mov.u32 %r2, tile;\n"
             "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r2];"));
  const DeviceFault fault = machine.fault(arguments(machine.memory.allocate(128, "out")), 20);
  EXPECT_EQ(fault.kind(), FaultKind::kDivergence);
  EXPECT_NE(std::string(fault.what()).find("needs all 32 lanes"), std::string::npos) << fault.what();
}

// Lanes that wait for others go on when those end.
TEST(Lanes, TheEndOfOthersIsWaitedFor) {
  Machine machine(
      kernel("setp.ge.u32 %p1, %r0, 16; @%p1 bra OUT; setp.lt.u32 %p2, %r0, 5;\n"
             "vote.sync.ballot.b32 %r1, %p2, -1; bra STORE;\nOUT: add.u32 %r3, %r0, 1; ret;\nSTORE:"));
  const uint64_t out = machine.memory.upload(std::vector<uint32_t>(32), "out");
  machine.run(arguments(out));
  const std::vector<uint32_t> got = machine.memory.download<uint32_t>(out, 32);
  for (uint32_t lane = 0; lane < 32; ++lane) EXPECT_EQ(got[lane], lane < 16 ? 31u : 0u);
}

// Half of the warp is at another __syncwarp(), which it reaches later.
TEST(Lanes, WarpBarriersMayBeReachedAtDifferentPlaces) {
  Machine machine(
      kernel(".shared .align 4 .b8 word[4]; mov.u32 %r5, word; setp.ge.u32 %p1, %r0, 16; @%p1 bra WRITE;\n"
             "bar.warp.sync -1; ld.shared.u32 %r1, [%r5]; bra STORE;\n"
             "WRITE: mov.u32 %r6, 77; st.shared.u32 [%r5], %r6; bar.warp.sync -1;\nSTORE:"));
  const uint64_t out = machine.memory.allocate(128, "out");
  machine.run(arguments(out));
  EXPECT_EQ(machine.memory.download<uint32_t>(out, 32)[3], 77u);
}

// Even lanes meet, and odd ones: one instruction, two masks.
TEST(Lanes, WarpBarriersOfSeveralMasks) {
  expect_warp(
      "and.b32 %r4, %r3, 1; setp.eq.u32 %p1, %r4, 1; selp.b32 %r5, 0xaaaaaaaa, 0x55555555, %p1;\n"
      "bar.warp.sync %r5; add.u32 %r9, %r1, 1;",
      "%r9", [](uint32_t lane) { return lane + 1; }, [](uint32_t lane) { return lane; });
}

// Where threads are counted, the eight of the second warp stand for 32.
TEST(Lanes, BarriersThatCountAndBarriersThatAreLeft) {
  Machine counted(
      kernel("bar.sync 1, 64; setp.lt.u32 %p1, %r0, 32; @%p1 bra FIRST; bar.arrive 2, 64; bra STORE;\n"
             "FIRST: bar.sync 2, 64; mov.u32 %r1, 4;\nSTORE:"));
  const uint64_t out = counted.memory.allocate(160, "out");
  counted.run(arguments(out), 40);
  EXPECT_EQ(counted.memory.download<uint32_t>(out, 40)[31], 4u);
  EXPECT_EQ(counted.memory.download<uint32_t>(out, 40)[39], 0u);
  // Who arrives goes on at once, here to the barrier for which the other waits first.
  Machine arrives(
      kernel("setp.lt.u32 %p1, %r0, 32; @%p1 bra FIRST; bar.arrive 2, 64; bar.sync 3, 64; bra STORE;\n"
             "FIRST: bar.sync 3, 64; bar.sync 2, 64; mov.u32 %r1, 6;\nSTORE:"));
  const uint64_t third = arrives.memory.allocate(256, "out");
  arrives.run(arguments(third), 64);
  EXPECT_EQ(arrives.memory.download<uint32_t>(third, 64)[31], 6u);
  // Either warp ends while the other waits.
  for (const char* ends : {"setp.ge.u32 %p1, %r0, 32;", "setp.lt.u32 %p1, %r0, 32;"}) {
    Machine left(kernel(ends + std::string("@%p1 bra OUT; bar.sync 0; mov.u32 %r1, 8; bra STORE;\nOUT: ret;\nSTORE:")));
    const uint64_t other = left.memory.upload(std::vector<uint32_t>(64), "out");
    left.run(arguments(other), 64);
    EXPECT_EQ(left.memory.download<uint32_t>(other, 64)[0] + left.memory.download<uint32_t>(other, 64)[63], 8u);
  }
}

TEST(Lanes, WrongBarriersAreReported) {
  Machine apart(kernel("setp.lt.u32 %p1, %r0, 16; @%p1 bra FIRST; bar.sync 0; bra STORE;\nFIRST: bar.sync 0;\nSTORE:"));
  const DeviceFault fault = apart.fault(arguments(apart.memory.allocate(128, "out")));
  EXPECT_EQ(fault.kind(), FaultKind::kDivergence);
  EXPECT_NE(std::string(fault.what()).find("at different places"), std::string::npos) << fault.what();
  Machine sixteenth(kernel("add.u32 %r3, %r1, 16; bar.sync %r3;"));
  EXPECT_EQ(sixteenth.fault(arguments(sixteenth.memory.allocate(128, "out"))).kind(), FaultKind::kDivergence);
}

TEST(Lanes, BranchTablesHaveAnEnd) {
  Machine machine(
      kernel("T: .branchtargets A, B;\nbrx.idx %r0, T;\nA: mov.u32 %r1, 1; bra STORE;\nB: mov.u32 %r1, 2;\nSTORE:"));
  const uint64_t out = machine.memory.allocate(128, "out");
  machine.run(arguments(out), 2);
  EXPECT_EQ(machine.memory.download<uint32_t>(out, 2), (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(machine.fault(arguments(out), 3).kind(), FaultKind::kOutOfBounds);
}

TEST(Lanes, ReductionsOfTheBlock) {
  Machine machine(
      kernel("setp.lt.u32 %p1, %r0, 63; setp.lt.u32 %p2, %r0, 64; bar.red.and.pred %p3, 0, %p1;\n"
             "bar.red.and.pred %p4, 0, %p2; bar.red.or.pred %p5, 0, %p1; selp.u32 %r2, 1, 0, %p3;\n"
             "selp.u32 %r3, 2, 0, %p4; selp.u32 %r4, 4, 0, %p5; or.b32 %r1, %r2, %r3; or.b32 %r1, %r1, %r4;"));
  const uint64_t out = machine.memory.allocate(256, "out");
  machine.run(arguments(out), 64);
  EXPECT_EQ(machine.memory.download<uint32_t>(out, 64), std::vector<uint32_t>(64, 6));
}

}  // namespace
}  // namespace annulus::cudasim
