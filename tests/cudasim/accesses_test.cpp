// Accesses of whole warps, which are checked at once where they can be, and of single lanes: what is wrong must be
// found in both, and what is counted must be the same.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "tests/cudasim/machine.h"

namespace annulus::cudasim {
namespace {

// All lanes, or the first alone: the two ways in which accesses are checked.
struct Lanes {
  uint32_t threads;
};
constexpr Lanes kEither[] = {{32}, {1}};

FaultKind fault_of(const std::string& text, Lanes lanes, uint64_t bytes, uint64_t plus, Options options = {}) {
  Machine machine(text);
  const uint64_t out = machine.memory.upload(std::vector<uint8_t>(bytes), "out");
  return machine.fault(arguments(out + plus), lanes.threads, options).kind();
}

TEST(Accesses, BordersAndAlignment) {
  for (const Lanes lanes : kEither) {
    const uint64_t bytes = 4 * lanes.threads;
    const std::string load = kernel("ld.global.u32 %r1, [%rd2];"), store = kernel("");
    EXPECT_EQ(fault_of(load, lanes, bytes, 4), FaultKind::kOutOfBounds);
    EXPECT_EQ(fault_of(load, lanes, bytes, ~uint64_t{3}), FaultKind::kOutOfBounds);
    EXPECT_EQ(fault_of(load, lanes, bytes + 2, 2), FaultKind::kMisaligned);
    const std::string again =
        kernel("ld.global.u8 %r3, [%rd1]; ld.global.u32 %r1, [%rd2];");  // an allocation known by now
    EXPECT_EQ(fault_of(again, lanes, bytes + 2, 2), FaultKind::kMisaligned);
    EXPECT_EQ(fault_of(load, lanes, bytes - 1, 0), FaultKind::kOutOfBounds);
    EXPECT_EQ(fault_of(store, lanes, bytes, 4), FaultKind::kOutOfBounds);
    EXPECT_EQ(fault_of(store, lanes, bytes + 2, 2), FaultKind::kMisaligned);
    EXPECT_EQ(fault_of(store, lanes, bytes - 1, 0), FaultKind::kOutOfBounds);
  }
}

TEST(Accesses, WhatMayNotBeTouched) {
  const std::string constant = ".const .align 4 .u32 table[32] = {5};\n";
  const std::string reads_before = kernel(
      "mov.u64 %rd3, table; mad.wide.u32 %rd4, %r0, 4, %rd3;\n"
      "ld.global.u32 %r1, [%rd4]; st.global.u32 [%rd4], %r0;",
      constant);
  const std::string writes =
      kernel("mov.u64 %rd3, table; mad.wide.u32 %rd4, %r0, 4, %rd3; st.global.u32 [%rd4], %r0;", constant);
  for (const Lanes lanes : kEither) {
    EXPECT_EQ(fault_of(reads_before, lanes, 128, 0), FaultKind::kReadOnly);
    EXPECT_EQ(fault_of(writes, lanes, 128, 0), FaultKind::kReadOnly);
    Machine freed(kernel("ld.global.u32 %r1, [%rd2];"));
    const uint64_t gone = freed.memory.upload(std::vector<uint32_t>(32), "gone");
    freed.memory.release(gone);
    EXPECT_EQ(freed.fault(arguments(gone), lanes.threads).kind(), FaultKind::kOutOfBounds);
    Machine distant(kernel("ld.global.u32 %r1, [%rd2];"));
    const uint64_t far = distant.memory.allocate(128, "far", 1);
    const std::vector<uint32_t> zeros(32);
    distant.memory.write(far, zeros.data(), 128);
    Options options;
    options.visible_devices = 1;
    EXPECT_EQ(distant.fault(arguments(far), lanes.threads, options).kind(), FaultKind::kOutOfBounds);
    options.visible_devices = 3;
    distant.run(arguments(far), lanes.threads, options);
  }
}

// Ways in which one lane of an otherwise plain row differs.
TEST(Accesses, RowsWithAHole) {
  const std::string to_place =
      "setp.eq.u32 %p1, %r0, 20; selp.u32 %r3, 3, 20, %p1; @!%p1 mov.u32 %r3, %r0;\n"
      "mad.wide.u32 %rd3, %r3, 4, %rd1;\n";
  Machine machine(kernel(to_place + "ld.global.u32 %r1, [%rd3];"));  // lane 20 reads what belongs to lane 3
  std::vector<uint32_t> values(32);
  for (uint32_t i = 0; i < 32; ++i) values[i] = 50 + i;
  const uint64_t out = machine.memory.upload(values, "out");
  machine.run(arguments(out));
  EXPECT_EQ(machine.memory.download<uint32_t>(out, 32)[20], 53u);
  Machine unwritten(kernel("ld.global.u32 %r1, [%rd2];"));
  const uint64_t hole = unwritten.memory.allocate(128, "hole");
  unwritten.memory.write(hole, values.data(), 80);
  const DeviceFault fault = unwritten.fault(arguments(hole));
  EXPECT_EQ(fault.kind(), FaultKind::kUninitialised);
  EXPECT_EQ(fault.place().thread.x, 20u);
}

TEST(Accesses, NarrowAndWideRegisters) {
  Machine machine(
      kernel("mov.u64 %rd3, 0x1234567890abcdef; cvt.u64.u32 %rd4, %r0; add.u64 %rd3, %rd3, %rd4;\n"
             "mad.wide.u32 %rd5, %r0, 16, %rd1; st.global.u64 [%rd5], %rd3; st.global.u32 [%rd5+8], %rd3;\n"
             "st.global.u16 [%rd5+12], %rd3; st.global.u16 [%rd5+14], %r0; ld.global.s16 %rd6, [%rd5+12];\n"
             "st.global.u64 [%rd5], %rd6; ret;"));
  const uint64_t out = machine.memory.allocate(512, "out");
  machine.run(arguments(out));
  for (uint64_t i = 0; i < 32; ++i) {
    const uint64_t low = 0x90abcdef + i;
    EXPECT_EQ(machine.memory.download<uint64_t>(out + 16 * i, 1)[0], 0xffffffffffff0000 | (low & 0xffff));
    EXPECT_EQ(machine.memory.download<uint64_t>(out + 16 * i + 8, 1)[0], low | (low & 0xffff) << 32 | i << 48);
  }
}

TEST(Accesses, LocalMemoryIsEachLanesOwn) {
  const std::string local = ".local .align 4 .b8 mine[8]; mov.u32 %r2, mine;\n";
  Machine own(kernel(local + "st.local.u32 [%r2], %r0; bar.warp.sync -1; ld.local.u32 %r1, [%r2];"));
  const uint64_t out = own.memory.allocate(128, "out");
  own.run(arguments(out));
  EXPECT_EQ(own.memory.download<uint32_t>(out, 32)[7], 7u);
  Machine beyond(kernel(local + "ld.local.u32 %r1, [%r2+16];"));
  EXPECT_EQ(beyond.fault(arguments(out)).kind(), FaultKind::kOutOfBounds);
  // The next block finds nothing of what the one before wrote, and the gaps between variables stay nobody's.
  Options one_block;
  one_block.resident_blocks = 1;
  const std::string second = "mov.u32 %r4, %ctaid.x; setp.eq.u32 %p1, %r4, 1;\n";
  Machine again(kernel(local + second + "@%p1 ld.local.u32 %r1, [%r2]; st.local.u32 [%r2], %r0;"));
  EXPECT_EQ(again.fault(arguments(again.memory.allocate(128, "out")), 32, one_block, {2}).kind(),
            FaultKind::kUninitialised);
  Machine gap(kernel(".shared .align 4 .b8 a[8]; .shared .align 4 .b8 b[8]; mov.u32 %r2, a; mov.u32 %r3, b;\n" +
                     second + "st.shared.u32 [%r3], %r0; @%p1 st.shared.u32 [%r2+16], %r0;"));
  EXPECT_EQ(gap.fault(arguments(gap.memory.allocate(128, "out")), 32, one_block, {2}).kind(), FaultKind::kOutOfBounds);
}

TEST(Accesses, GenericAddresses) {
  Machine machine(kernel(
      ".shared .align 4 .b8 tile[128]; .local .align 4 .b8 mine[4]; mov.u64 %rd3, tile; cvta.shared.u64 %rd4, %rd3;\n"
      "mad.wide.u32 %rd5, %r0, 4, %rd4; st.u32 [%rd5], %r0; cvta.to.shared.u64 %rd6, %rd5; ld.shared.u32 %r2, [%rd6];\n"
      "isspacep.shared %p1, %rd4; isspacep.global %p2, %rd4; isspacep.global %p3, %rd1; mov.u64 %rd7, mine;\n"
      "cvta.local.u64 %rd8, %rd7; isspacep.local %p4, %rd8; selp.u32 %r3, 100, 0, %p1; selp.u32 %r4, 200, 0, %p2;\n"
      "selp.u32 %r5, 400, 0, %p3; selp.u32 %r6, 800, 0, %p4; add.u32 %r1, %r2, %r3; add.u32 %r1, %r1, %r4;\n"
      "add.u32 %r1, %r1, %r5; add.u32 %r1, %r1, %r6;"));
  const uint64_t out = machine.memory.allocate(128, "out");
  const Statistics statistics = machine.run(arguments(out));
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(machine.memory.download<uint32_t>(out, 32)[lane], lane + 100 + 400 + 800);
  EXPECT_EQ(statistics.total.shared_requests, 2u);
  EXPECT_EQ(statistics.total.global_requests, 1u);
}

// An observer hears of each lane's access, also where all lanes' are plain.
TEST(Accesses, ObserversHearOfEach) {
  struct Counts : Observer {
    int reads = 0, writes = 0, copies = 0;
    void on_access(const MemoryAccess& access) override {
      ++(access.kind == MemoryAccess::Kind::kRead ? reads : writes);
    }
    void on_copy_access(uint64_t, const MemoryAccess&) override { ++copies; }
  } counts;
  Machine machine(kernel(
      ".shared .align 16 .b8 tile[512]; mov.u32 %r2, tile; mad.lo.u32 %r3, %r0, 16, %r2; mad.wide.u32 %rd3, %r0, 16, "
      "%rd1; cp.async.cg.shared.global [%r3], [%rd3], 16; cp.async.wait_all; bar.warp.sync -1;\n"
      "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r3]; ld.global.u32 %r1, [%rd2];"));
  const uint64_t out = machine.memory.upload(std::vector<uint32_t>(128), "out");
  Options options;
  options.observer = &counts;
  machine.run(arguments(out), 32, options);
  EXPECT_EQ(counts.reads, 64);
  EXPECT_EQ(counts.writes, 32);
  EXPECT_EQ(counts.copies, 64);
}

const std::string kTile =
    ".shared .align 16 .b8 tile[512]; mov.u32 %r2, tile; mad.lo.u32 %r3, %r0, 16, %r2;\n"
    "mad.wide.u32 %rd3, %r0, 16, %rd1; ";

TEST(Accesses, CopiesInFlight) {
  const auto kind = [](const std::string& body, Options options = {}) {
    return fault_of(kernel(kTile + body + "\ncp.async.wait_all;"), {32}, 512, 0, options);
  };
  const std::string copy = "cp.async.cg.shared.global [%r3], [%rd3], 16;\n";
  EXPECT_EQ(kind(copy + "mad.lo.u32 %r4, %r0, 4, %r2; st.shared.u32 [%r4], %r0;"), FaultKind::kInFlight);
  EXPECT_EQ(kind(copy + "mad.lo.u32 %r4, %r0, 4, %r2; ld.shared.u32 %r1, [%r4];"), FaultKind::kInFlight);
  EXPECT_EQ(kind(copy + copy), FaultKind::kInFlight);
  EXPECT_EQ(kind("cp.async.cg.shared.global [%r2], [%rd3], 16;"), FaultKind::kInFlight);  // all to one place
  EXPECT_EQ(kind(copy + "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r3];"), FaultKind::kInFlight);
  EXPECT_EQ(kind("cp.async.cg.shared.global [%r3+16], [%rd3], 16;"), FaultKind::kOutOfBounds);
  EXPECT_EQ(kind("cp.async.cg.shared.global [%r3], [%rd3+16], 16;"), FaultKind::kOutOfBounds);
  EXPECT_EQ(kind("cp.async.cg.shared.global [%r3], [%rd3], 16, 17;"), FaultKind::kOutOfBounds);
  Machine unwritten(kernel(kTile + copy));
  EXPECT_EQ(unwritten.fault(arguments(unwritten.memory.allocate(512, "out"))).kind(), FaultKind::kUninitialised);
}

// What is not given becomes zero, and only lanes that read count as a request; a source may be overwritten before a
// copy that lands late.
TEST(Accesses, CopiesOfLessAndOfLater) {
  Machine machine(kernel(kTile + "and.b32 %r4, %r0, 7; mul.lo.u32 %r4, %r4, 4; min.u32 %r4, %r4, 16;\n"
                                 "cp.async.cg.shared.global [%r3], [%rd3], 16, %r4; cp.async.wait_all;\n"
                                 "ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [%r3]; add.u32 %r1, %r5, %r6;\n"
                                 "add.u32 %r1, %r1, %r7; add.u32 %r1, %r1, %r8;"));
  const uint64_t out = machine.memory.upload(std::vector<uint32_t>(128, 1), "out");
  const Statistics statistics = machine.run(arguments(out));
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(machine.memory.download<uint32_t>(out, 32)[lane], std::min(lane % 8, 4u)) << lane;
  EXPECT_EQ(statistics.total.global_bytes, 28u * 16 + 32 * 4);
  for (const Options::Copies copies : {Options::Copies::kEarly, Options::Copies::kLate}) {
    Machine later(kernel(kTile + "cp.async.cg.shared.global [%r3], [%rd3], 16; mov.u32 %r4, 9; bar.warp.sync -1;\n"
                                 "st.global.u32 [%rd2], %r4; bar.warp.sync -1; cp.async.wait_all;\n"
                                 "ld.shared.u32 %r1, [%r3];"));
    const uint64_t source = later.memory.upload(std::vector<uint32_t>(128, 1), "source");
    Options options;
    options.copies = copies;
    later.run(arguments(source), 32, options);
    EXPECT_EQ(later.memory.download<uint32_t>(source, 1)[0], copies == Options::Copies::kEarly ? 1u : 9u);
  }
  // Without the check, what was copied may be read before the wait: when copies land early it is there.
  Machine unchecked(kernel(kTile + "cp.async.cg.shared.global [%r3], [%rd3], 16; ld.shared.u32 %r1, [%r3];\n"
                                   "st.shared.u32 [%r3], %r1; cp.async.wait_all;"));
  const uint64_t read = unchecked.memory.upload(std::vector<uint32_t>(128, 6), "read");
  Options options;
  options.copies = Options::Copies::kEarly;
  options.check_in_flight = false;
  unchecked.run(arguments(read), 32, options);
  EXPECT_EQ(unchecked.memory.download<uint32_t>(read, 1)[0], 6u);
}

// Sectors are a set; a wavefront serves one word of each bank. Counted here without shortcuts.
TEST(Accesses, StatisticsOfEveryPattern) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const uint32_t bytes = 1u << random() % 5, lanes = random() % 2 == 0 ? ~0u : static_cast<uint32_t>(random()) | 1;
    uint64_t at[32];
    const uint64_t odd = random() % 4 == 0 ? random() % 32 : 0;  // misaligned, as what is about to be reported
    const uint64_t base = 4096 + 16 * (random() % 64) + odd, stride = random() % 40, shape = random() % 7;
    for (uint64_t i = 0; i < 32; ++i)
      at[i] = base + bytes * (shape == 0   ? i
                              : shape == 1 ? 31 - i
                              : shape == 2 ? i * stride
                              : shape == 3 ? random() % 64
                              : shape == 4 ? i ^ stride
                              : shape == 5 ? stride
                                           : i + i / 8 * stride);
    Counter counter;
    count_global(counter, at, lanes, bytes);
    count_shared(counter, at, lanes, bytes);
    std::set<uint64_t> sectors;
    uint64_t wavefronts = 0, fewest = 0;
    const uint32_t group = bytes <= 4 ? 32 : 128 / bytes;
    for (uint32_t first = 0; first < 32; first += group) {
      std::map<uint64_t, std::set<uint64_t>> banks;
      uint64_t most = 0;
      for (uint32_t i = first; i < first + group; ++i) {
        if ((lanes >> i & 1) == 0) continue;
        for (uint64_t byte = at[i]; byte < at[i] + bytes; ++byte) {
          sectors.insert(byte / 32);
          banks[byte / 4 % 32].insert(byte / 4);
        }
      }
      for (const auto& [bank, words] : banks) most = std::max<uint64_t>(most, words.size());
      wavefronts += most;
      fewest += most > 0 ? 1 : 0;
    }
    ASSERT_EQ(counter.sectors, sectors.size()) << round;
    ASSERT_EQ(counter.wavefronts, wavefronts) << round;
    ASSERT_EQ(counter.fewest_wavefronts, fewest) << round;
  }
}

// Loops run different numbers of rounds in different lanes: what ran, and with how many.
TEST(Accesses, RunsAndThreads) {
  Machine machine(
      kernel("and.b32 %r2, %r0, 3;\nAGAIN: add.u32 %r1, %r1, 1; setp.gt.u32 %p1, %r1, %r2;\n"
             "@%p1 not.b32 %r5, %r1; @!%p1 bra AGAIN;"));
  const uint64_t out = machine.memory.allocate(128, "out");
  const Statistics statistics = machine.run(arguments(out));
  EXPECT_EQ(statistics.mix.at("setp.gt.u32"), 4u);
  for (const Statistics::Line& line : statistics.lines) {
    if (line.instruction == "setp.gt.u32") {
      EXPECT_EQ(line.counter.threads, 32u + 24 + 16 + 8);
    }
    if (line.instruction == "not.b32") {
      EXPECT_EQ(line.counter.threads, 32u);
    }
    if (line.instruction == "st.global.u32") {
      EXPECT_EQ(line.counter.threads, 32u);
    }
  }
}

}  // namespace
}  // namespace annulus::cudasim
