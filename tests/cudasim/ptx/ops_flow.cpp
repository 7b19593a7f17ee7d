// Branches, ends, barriers, fences. The warp itself moves the lanes; handlers here only compute results.

#include <array>
#include <bit>

#include "tests/cudasim/ptx/block.h"
#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"

namespace annulus::cudasim {
namespace {

void nothing(Warp&, const Op&, LaneMask) {}

bool prepare_branch(const Instruction& in, Op& op) {
  op.run = nothing;
  op.control = in.opcode == "brx" ? Control::kTableBranch : Control::kBranch;
  return true;
}

bool prepare_exit(const Instruction&, Op& op) {
  op.run = nothing;
  op.control = Control::kExit;
  return true;
}

bool prepare_trap(const Instruction&, Op& op) {
  op.run = [](Warp& warp, const Op& self, LaneMask lanes) {
    warp.fault(FaultKind::kTrap, self, std::countr_zero(lanes), "the kernel stopped itself");
  };
  return true;
}

void fence(Warp& warp, const Op& op, LaneMask lanes) {
  Observer* observer = warp.block().launch().options.observer;
  if (observer == nullptr) return;
  for (LaneMask left = lanes; left != 0; left &= left - 1)
    observer->on_fence({warp.block().linear(), warp.thread(std::countr_zero(left))}, op);
}

bool prepare_fence(const Instruction&, Op& op) {
  op.run = fence;
  return true;
}

bool prepare_nanosleep(const Instruction&, Op& op) {
  op.run = nothing;
  return true;
}

// bar.red: op.extra of barrier_id says where the operands are; the block has counted the votes.
template <class F>
Handler reduce_predicate(F) {
  return [](Warp& warp, const Op& op, LaneMask lanes) {
    const Block::Votes& votes = warp.block().result(*warp.words(op.slots[1]));
    write_predicate(warp, op.slots[0], lanes, F{}(votes.yes, votes.total) ? kAllLanes : 0);
  };
}

void reduce_count(Warp& warp, const Op& op, LaneMask lanes) {
  const uint32_t yes = warp.block().result(*warp.words(op.slots[1])).yes;
  write<uint32_t>(warp, op, lanes, [&](int) { return yes; });
}

// bar{.cta}.sync id {, threads}; bar.arrive id, threads; bar.red d, id {, threads}, p; bar.warp.sync mask
bool prepare_barrier(const Instruction& in, Op& op) {
  op.run = nothing;
  if (in.has("warp")) {
    op.control = Control::kWarpBarrier;
    return op.operand_count == 1;
  }
  op.control = Control::kBlockBarrier;
  op.extra2 = in.has("arrive") ? 1 : 0;
  if (!in.has("red")) return in.has("sync") || in.has("arrive");
  op.extra = 1;  // the operands begin after the result
  if (in.has("popc"))
    op.run = reduce_count;
  else if (in.has("and"))
    op.run = reduce_predicate([](uint32_t yes, uint32_t total) { return yes == total; });
  else
    op.run = reduce_predicate([](uint32_t yes, uint32_t) { return yes != 0; });
  return true;
}

constexpr std::array<Family, 11> kFamilies{{{"bra", prepare_branch, " uni "},
                                            {"brx", prepare_branch, " idx uni "},
                                            {"exit", prepare_exit, " "},
                                            {"ret", prepare_exit, " uni "},
                                            {"trap", prepare_trap, " "},
                                            {"brkpt", prepare_trap, " "},
                                            {"membar", prepare_fence, " cta gl sys gpu "},
                                            {"fence", prepare_fence, " sc acq_rel acquire release cta gpu sys "},
                                            {"nanosleep", prepare_nanosleep, " "},
                                            {"bar", prepare_barrier, " sync arrive red popc and or cta warp aligned "},
                                            {"barrier", prepare_barrier, " sync arrive red popc and or cta aligned "}}};

}  // namespace

std::span<const Family> flow_families() { return kFamilies; }

}  // namespace annulus::cudasim
