// Registers share places in the warp's file: where the analysis of what is still wanted is wrong, values get lost.

#include <gtest/gtest.h>

#include <random>

#include "tests/cudasim/ptx/launch.h"

namespace annulus::cudasim {
namespace {

// Each of 32 threads runs `body` with its number in %r0 and stores %r1.
std::vector<uint32_t> results(const std::string& body, const Options& options = {}) {
  Memory memory;
  LoadedModule module(
      ".version 8.0\n.target sm_80\n.address_size 64\n"
      ".func (.param .b32 sum) add_up(.param .b32 a) {.reg .b32 %r<9>; ld.param.u32 %r1, [a]; mov.u32 %r2, 100;\n"
      "add.u32 %r3, %r1, %r2; add.u32 %r4, %r3, 1; st.param.u32 [sum], %r4; ret; }\n"
      ".entry k(.param .u64 out) {.reg .b32 %r<200>; .reg .b64 %rd<100>; .reg .pred %p<100>;\n"
      "mov.u32 %r0, %tid.x;\n" +
          body + "\nld.param.u64 %rd98, [out]; mad.wide.u32 %rd99, %r0, 4, %rd98; st.global.u32 [%rd99], %r1; ret; }",
      memory);
  const uint64_t out = memory.allocate(128, "out");
  Options limited = options;
  limited.max_instructions = 1'000'000;
  launch(module.kernel("k"), memory, {}, {32}, arguments(out), limited);
  return memory.download<uint32_t>(out, 32);
}

template <class F>
void expect(const std::string& body, F expected) {
  const std::vector<uint32_t> got = results(body);
  for (uint32_t i = 0; i < 32; ++i) EXPECT_EQ(got[i], expected(i)) << "thread " << i << " of\n" << body;
}

// Values that are wanted at once, in registers %r100 and up: they take the places of whatever is thought to be over.
std::string clutter(int first) {
  std::string text;
  const auto r = [](int i) { return "%r" + std::to_string(i); };
  for (int i = first; i < first + 8; ++i) text += "mov.u32 " + r(i) + ", " + std::to_string(1000 + i) + ";\n";
  for (int i = first; i < first + 7; ++i) text += "add.u32 " + r(i + 1) + ", " + r(i + 1) + ", " + r(i) + ";\n";
  return text;
}

TEST(RegisterPlaces, ALoopKeepsWhatItReadsAtItsHead) {
  expect("mov.u32 %r1, 0; mov.u32 %r2, 0; add.u32 %r3, %r0, 5;\nAGAIN: add.u32 %r1, %r1, %r3;\n" + clutter(100) +
             "add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, 4; @%p1 bra AGAIN;",
         [](uint32_t i) { return 4 * (i + 5); });
}

// In the second round no lane writes %r3: the value of the first is still wanted.
TEST(RegisterPlaces, AGuardedWriteLeavesTheValueThatWasThere) {
  expect(
      "mov.u32 %r1, 0; mov.u32 %r2, 0;\nAGAIN: setp.eq.u32 %p1, %r2, 0; @%p1 add.u32 %r3, %r0, 7;\n"
      "add.u32 %r1, %r1, %r3;\n" +
          clutter(100) + "add.u32 %r2, %r2, 1; setp.lt.u32 %p2, %r2, 3; @%p2 bra AGAIN;",
      [](uint32_t i) { return 3 * (i + 7); });
}

// What stands behind runs before.
TEST(RegisterPlaces, StretchesOutOfOrder) {
  expect("add.u32 %r3, %r0, 9; bra SECOND;\nFIRST: add.u32 %r1, %r3, 1; bra DONE;\nSECOND:\n" + clutter(100) +
             "bra FIRST;\nDONE:",
         [](uint32_t i) { return i + 10; });
}

// The value comes from below, to an instruction behind others of its stretch.
TEST(RegisterPlaces, AValueFromBelow) {
  expect("bra SECOND;\nFIRST:\n" + clutter(100) + "add.u32 %r1, %r3, 1; bra DONE;\nSECOND: add.u32 %r3, %r0, 9;\n" +
             "bra FIRST;\nDONE:",
         [](uint32_t i) { return i + 10; });
}

TEST(RegisterPlaces, AGuardIsRead) {
  std::string others;
  for (int i = 50; i < 58; ++i)
    others += "setp.eq.u32 %p" + std::to_string(i) + ", %r2, 77; selp.u32 %r9, 1, 0, %p" + std::to_string(i) + ";\n";
  expect("mov.u32 %r1, 0; mov.u32 %r2, 0; setp.lt.u32 %p1, %r0, 11;\nAGAIN: @%p1 add.u32 %r1, %r1, 5;\n" + others +
             "add.u32 %r2, %r2, 1; setp.lt.u32 %p2, %r2, 4; @%p2 bra AGAIN;",
         [](uint32_t i) { return i < 11 ? 20u : 0u; });
}

TEST(RegisterPlaces, BranchTables) {
  expect(
      "add.u32 %r3, %r0, 9; and.b32 %r4, %r0, 1; bra SECOND;\nODD: add.u32 %r1, %r3, 1; bra DONE;\n"
      "EVEN: add.u32 %r1, %r3, 2; bra DONE;\nSECOND:\n" +
          clutter(100) + "T: .branchtargets EVEN, ODD;\nbrx.idx %r4, T;\nDONE:",
      [](uint32_t i) { return i + (i % 2 == 0 ? 11 : 10); });
}

TEST(RegisterPlaces, ACalledFunctionHasItsOwn) {
  expect(
      "add.u32 %r3, %r0, 9; setp.lt.u32 %p1, %r0, 11; mov.u32 %r1, 0; @%p1 bra DONE;\n"
      "{ .param .b32 a; .param .b32 s; st.param.b32 [a], %r0; call.uni (s), add_up, (a); ld.param.b32 %r4, [s]; }\n"
      "add.u32 %r1, %r3, %r4;\nDONE: add.u32 %r1, %r1, %r3;",
      [](uint32_t i) { return i < 11 ? i + 9 : i + 9 + i + 101 + i + 9; });
}

TEST(RegisterPlaces, NoPlaceIsTakenTwiceAtOnce) {
  // %r2 dies where %rd3 and %r5 are born; results of several instructions live in registers of other widths.
  expect(
      "add.u32 %r2, %r0, 3; mul.wide.u32 %rd3, %r2, %r2; mov.b64 {%r5, %r6}, %rd3; add.u32 %r7, %r5, %r6;\n"
      "cvt.u64.u32 %rd4, %r7; shl.b64 %rd5, %rd4, 33; mov.b64 {%r8, %r9}, %rd5; add.u32 %r1, %r8, %r9;",
      [](uint32_t i) { return 2 * (i + 3) * (i + 3); });
}

// Random blocks of random instructions, each of which may go on to any other; the host runs them thread by thread.
class RandomProgram {
 public:
  static constexpr int kBlocks = 7, kShared = 6, kOwn = 5, kSteps = 40;

  explicit RandomProgram(uint32_t seed) : random_(seed) {
    for (int block = 0; block < kBlocks; ++block) {
      for (int i = 0; i < 10; ++i) blocks_[block].push_back(instruction(block, i));
      for (int& next : next_[block]) next = below(kBlocks);
    }
  }

  std::string text() const {
    std::string text = "mov.u32 %r1, 0; mov.u32 %r2, 0;\n";
    for (int g = 0; g < kShared; ++g) text += line("mad.lo.u32 @, %r0, 77, ", shared(g)) + std::to_string(g) + ";\n";
    for (int block = 0; block < kBlocks; ++block) {
      text += "L" + std::to_string(block) + ": add.u32 %r2, %r2, 1; setp.gt.u32 %p1, %r2, " + std::to_string(kSteps) +
              "; @%p1 bra END;\n";
      for (const One& one : blocks_[block]) {
        if (one.guarded) text += "and.b32 %r3, %r2, 1; setp.eq.u32 %p2, %r3, 0; @%p2 ";
        text += line("mad.lo.u32 @, ", one.to) + name(one.a) + ", " + std::to_string(one.factor) + ", " + name(one.b) +
                ";\n";
      }
      text += "xor.b32 %r1, %r1, " + name(blocks_[block].back().to) + "; shr.u32 %r4, " +
              name(blocks_[block].back().to) + ", 9; and.b32 %r4, %r4, 1; setp.eq.u32 %p3, %r4, 0; @%p3 bra L" +
              std::to_string(next_[block][0]) + "; bra L" + std::to_string(next_[block][1]) + ";\n";
    }
    return text + "END:";
  }

  uint32_t run(uint32_t thread) const {
    uint32_t values[kShared + kBlocks * kOwn] = {}, sum = 0;
    for (uint32_t g = 0; g < kShared; ++g) values[g] = thread * 77 + g;
    int block = 0;
    for (uint32_t step = 1; step <= kSteps; ++step) {
      for (const One& one : blocks_[block])
        if (!one.guarded || step % 2 == 0) values[one.to] = values[one.a] * one.factor + values[one.b];
      const uint32_t last = values[blocks_[block].back().to];
      sum ^= last;
      block = next_[block][(last >> 9 & 1) == 0 ? 0 : 1];
    }
    return sum;
  }

 private:
  struct One {
    int to, a, b;
    uint32_t factor;
    bool guarded;
  };
  int below(int end) { return static_cast<int>(random_() % static_cast<uint32_t>(end)); }
  static int shared(int g) { return g; }
  static int own(int block, int i) { return kShared + block * kOwn + i; }
  static std::string name(int value) { return "%r" + std::to_string(10 + value); }
  static std::string line(std::string text, int to) { return text.replace(text.find('@'), 1, name(to)); }

  // The first instructions give the block's own registers their values; the others read what has one.
  One instruction(int block, int i) {
    const auto source = [&] {
      return below(2) == 0 || i == 0 ? shared(below(kShared)) : own(block, below(std::min(i, kOwn)));
    };
    const int a = source(), b = source();
    const bool fresh = i < kOwn;
    const int to = fresh ? own(block, i) : below(4) == 0 ? shared(below(kShared)) : own(block, below(kOwn));
    return {to, a, b, static_cast<uint32_t>(below(1000)) * 2 + 1, !fresh && below(3) == 0};
  }

  std::mt19937 random_;
  std::vector<One> blocks_[kBlocks];
  int next_[kBlocks][2];
};

TEST(RegisterPlaces, RandomProgramsComputeWhatTheHostDoes) {
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    const RandomProgram program(seed);
    Options options;
    options.seed = seed % 3;
    const std::vector<uint32_t> got = results(program.text(), options);
    for (uint32_t i = 0; i < 32; ++i) ASSERT_EQ(got[i], program.run(i)) << "seed " << seed << ", thread " << i;
  }
}

}  // namespace
}  // namespace annulus::cudasim
