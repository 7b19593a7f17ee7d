// What hand-written PTX shows of the machine itself: spaces, scopes, asynchronous copies, refusals.

#include <gtest/gtest.h>

#include "tests/cudasim/machine.h"

namespace annulus::cudasim {
namespace {

std::string refusal(const std::string& text) {
  try {
    Machine machine(text);
    machine.module.kernel("k");
  } catch (const PtxError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Machine, ConstantsCannotBeWritten) {
  Machine machine(
      ".const .align 4 .u32 table[2] = {5, 6};\n.entry k(.param .u64 out) {.reg .b32 %r<2>; .reg .b64 %rd<3>;\n"
      "ld.param.u64 %rd1, [out]; ld.const.u32 %r1, [table+4]; st.global.u32 [%rd1], %r1;\n"
      "mov.u64 %rd2, table; st.global.u32 [%rd2], %r1; ret; }");
  const uint64_t out = machine.memory.allocate(4, "out");
  try {
    machine.run(arguments(out), 1);
    FAIL();
  } catch (const DeviceFault& fault) {
    EXPECT_EQ(fault.kind(), FaultKind::kReadOnly);
    EXPECT_EQ(fault.place().ptx_line, 7);
  }
  EXPECT_EQ(machine.memory.download<uint32_t>(out, 1)[0], 6u);
}

// The compiler fetches 16 bytes where it wants 12, and says so. What it says is believed of what may be read, not of
// what is used: here the last word is.
TEST(Machine, BytesThatNobodyWantsNeedNotBeWritten) {
  const std::string head = ".entry k(.param .u64 io) {.reg .b32 %r<6>; .reg .b64 %rd1; ld.param.u64 %rd1, [io];\n",
                    rest =
                        "\nld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1];\n"
                        "add.u32 %r5, %r1, %r2; add.u32 %r5, %r5, %r3; add.u32 %r5, %r5, %r4;\n"
                        "st.global.u32 [%rd1], %r5; ret; }";
  Machine some(head + ".pragma \"used_bytes_mask 0xfff\";" + rest), all(head + rest);
  const uint32_t four[] = {1, 20, 300, 4000};
  for (const uint32_t words : {3, 4}) {
    const uint64_t at = some.memory.allocate(16, "io"), other = all.memory.allocate(16, "io");
    some.memory.write(at, four, 4 * words);
    all.memory.write(other, four, 4 * words);
    some.run(arguments(at), 1);
    EXPECT_EQ(some.memory.download<uint32_t>(at, 1)[0], words == 3 ? 321 + 0xffffffffu : 4321u);
    if (words == 3) {
      EXPECT_THROW(all.run(arguments(other), 1), DeviceFault);
      EXPECT_THROW(some.run(arguments(at + 4), 1), DeviceFault);  // misaligned, whatever is wanted
    }
  }
}

// A block waits for the one before it: right only if that has begun.
TEST(Machine, BlocksMayBeginInOrder) {
  Machine machine(
      ".entry k(.param .u64 done) {.reg .pred %p<2>; .reg .b32 %r<3>; .reg .b64 %rd<4>;\n"
      "ld.param.u64 %rd1, [done]; mov.u32 %r1, %ctaid.x; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd3, %rd1, %rd2;\n"
      "setp.eq.u32 %p1, %r1, 0; @%p1 bra DONE;\n"
      "WAIT: ld.volatile.global.u32 %r2, [%rd3+-4]; setp.eq.u32 %p1, %r2, 0; @%p1 bra WAIT;\n"
      "DONE: st.volatile.global.u32 [%rd3], 1; ret; }");
  int endless = 0;
  for (uint64_t seed = 0; seed < 12; ++seed)
    for (const bool in_order : {true, false}) {
      const uint64_t done = machine.memory.upload(std::vector<uint32_t>(9), "done");
      Options options;
      options.seed = seed;
      options.resident_blocks = static_cast<uint32_t>(1 + seed % 4);
      options.max_instructions = 100'000;
      options.blocks_begin_in_order = in_order;
      try {
        launch(machine.module.kernel("k"), machine.memory, {9}, {1}, arguments(done), options);
        EXPECT_EQ(machine.memory.download<uint32_t>(done, 9), std::vector<uint32_t>(9, 1));
      } catch (const DeviceFault& fault) {
        EXPECT_EQ(fault.kind(), FaultKind::kEndless);
        EXPECT_TRUE(seed > 0 && !in_order) << seed;
        ++endless;
      }
    }
  EXPECT_GT(endless, 0);
}

// Inline assembly repeats its register and label names in every copy of it.
TEST(Machine, BracesAreScopes) {
  Machine machine(
      ".entry k(.param .u64 out) {.reg .b32 %r<3>; .reg .b64 %rd1; mov.u32 %r1, 0;\n"
      "{ .reg .b32 t; .reg .pred p; mov.u32 t, 3; AGAIN: add.u32 %r1, %r1, 1; sub.u32 t, t, 1;\n"
      "setp.ne.u32 p, t, 0; @p bra AGAIN; }\n"
      "{ .reg .b32 t; .reg .pred p; mov.u32 t, 4; AGAIN: add.u32 %r1, %r1, 10; sub.u32 t, t, 1;\n"
      "setp.ne.u32 p, t, 0; @p bra AGAIN; }\n"
      "ld.param.u64 %rd1, [out]; st.global.u32 [%rd1], %r1; ret; }");
  const uint64_t out = machine.memory.allocate(4, "out");
  machine.run(arguments(out), 1);
  EXPECT_EQ(machine.memory.download<uint32_t>(out, 1)[0], 43u);
}

// The lanes that wait stand before the one that they wait for, which would never have its turn if those behind always
// went first.
TEST(Machine, LanesThatWaitLetThoseAheadGoOn) {
  Machine machine(
      ".entry k(.param .u64 flag) {.reg .b32 %r<3>; .reg .b64 %rd1; .reg .pred %p<3>; ld.param.u64 %rd1, [flag];\n"
      "mov.u32 %r1, %laneid; setp.eq.u32 %p1, %r1, 5; @%p1 bra SET;\n"
      "SPIN: ld.volatile.global.u32 %r2, [%rd1]; setp.eq.u32 %p2, %r2, 0; @%p2 bra SPIN; ret;\n"
      "SET: st.global.u32 [%rd1], %r1; ret; }");
  const uint64_t flag = machine.memory.upload(std::vector<uint32_t>(1), "flag");
  machine.run(arguments(flag));
  EXPECT_EQ(machine.memory.download<uint32_t>(flag, 1)[0], 5u);
}

constexpr char kCopy[] = R"(.entry k(.param .u64 in, .param .u64 out) {
.shared .align 16 .b8 tile[512];
.reg .b32 %r<6>; .reg .b64 %rd<6>;
ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out]; mov.u32 %r1, %tid.x; mov.u32 %r2, tile;
mad.lo.u32 %r3, %r1, 16, %r2; mad.wide.u32 %rd3, %r1, 16, %rd1; mad.wide.u32 %rd4, %r1, 4, %rd2;
cp.async.cg.shared.global [%r3], [%rd3], 16; cp.async.commit_group; WAIT
ld.shared.u32 %r4, [%r3+4]; st.global.u32 [%rd4], %r4; ret; })";

std::string with_wait(const char* wait) {
  std::string text = kCopy;
  return text.replace(text.find("WAIT"), 4, wait);
}

TEST(Machine, CopiesAreInFlightUntilTheWait) {
  std::vector<uint32_t> values(128);
  for (uint32_t i = 0; i < 128; ++i) values[i] = i;
  using Copies = Options::Copies;
  for (const Copies copies : {Copies::kEarly, Copies::kLate, Copies::kMixed}) {
    Options options;
    options.copies = copies;
    Machine right(with_wait("cp.async.wait_group 0;")), wrong(with_wait("cp.async.wait_group 1;"));
    const uint64_t out = right.memory.allocate(128, "out");
    right.run(arguments(right.memory.upload(values, "in"), out), 32, options);
    EXPECT_EQ(right.memory.download<uint32_t>(out, 32)[31], 125u);
    try {
      wrong.run(arguments(wrong.memory.upload(values, "in"), wrong.memory.allocate(128, "out")), 32, options);
      FAIL();
    } catch (const DeviceFault& fault) {
      EXPECT_EQ(fault.kind(), FaultKind::kInFlight) << fault.what();
    }
  }
}

TEST(Machine, EndingWithCopiesInFlightIsAFault) {
  std::string text = with_wait("ret;");
  Machine machine(text);
  try {
    machine.run(arguments(machine.memory.upload(std::vector<uint32_t>(128), "in"), uint64_t{0}));
    FAIL();
  } catch (const DeviceFault& fault) {
    EXPECT_EQ(fault.kind(), FaultKind::kInFlight) << fault.what();
  }
}

// Lanes 0 to 7 of a matrix name its rows.
TEST(Machine, MatricesAreHandedOut) {
  for (const bool transposed : {false, true}) {
    Machine machine(
        ".entry k(.param .u64 out) {.shared .align 16 .b8 tile[128]; .reg .b32 %r<8>; .reg .b64 %rd<4>; .reg .b16 "
        "%h1;\n"
        "ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mov.u32 %r2, tile; mad.lo.u32 %r3, %r1, 4, %r2;\n"
        "mul.lo.u32 %r4, %r1, 0x20002; add.u32 %r4, %r4, 0x10000; st.shared.u32 [%r3], %r4; bar.sync 0;\n"
        "and.b32 %r5, %r1, 7; mad.lo.u32 %r5, %r5, 16, %r2; ldmatrix.sync.aligned.m8n8.x1" +
        std::string(transposed ? ".trans" : "") +
        ".shared.b16 {%r6}, [%r5];\nmad.wide.u32 %rd2, %r1, 4, %rd1; st.global.u32 [%rd2], %r6; ret; }");
    const uint64_t out = machine.memory.allocate(128, "out");
    machine.run(arguments(out));
    const std::vector<uint32_t> got = machine.memory.download<uint32_t>(out, 32);
    for (uint32_t lane = 0; lane < 32; ++lane) {  // element (row, column) of the tile is 8 row + column
      const uint32_t row = lane / 4, column = 2 * (lane % 4);
      const uint32_t first = transposed ? 8 * column + row : 8 * row + column;
      EXPECT_EQ(got[lane], first | (first + (transposed ? 8 : 1)) << 16) << transposed;
    }
  }
}

TEST(Machine, WhatIsNotSupportedIsRefused) {
  const std::string recursive = ".func f() { call f; ret; }\n.entry k() { call f; ret; }";
  EXPECT_EQ(refusal(recursive), "kernel k: f calls itself, which is not supported");
  EXPECT_EQ(refusal(".extern .func f();\n.entry k() { call f; ret; }"),
            "kernel k, PTX line 5: calls f, which has no body in this module");
  EXPECT_EQ(refusal(".entry k() { frob }"), "PTX line 4: expected an operand, found '}'");
  EXPECT_EQ(refusal(".entry k() { .reg .b33 x; ret; }"), "PTX line 4: expected a type, found 'x'");
  EXPECT_EQ(refusal(".entry other() { ret; }"), "the module has 0 kernels whose name contains 'k'");
}

TEST(Machine, TheHostIsCheckedToo) {
  Memory memory;
  const uint64_t x = memory.allocate(16, "x");
  EXPECT_THROW(memory.download<uint32_t>(x, 4), std::logic_error);  // nobody wrote it
  const std::vector<uint32_t> five(5);
  EXPECT_THROW(memory.write(x, five.data(), 20), std::out_of_range);
  memory.release(x);
  EXPECT_THROW(memory.write(x, five.data(), 4), std::out_of_range);
  EXPECT_THROW(memory.release(x), std::out_of_range);
}

}  // namespace
}  // namespace annulus::cudasim
