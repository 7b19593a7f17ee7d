// cp.async: 4, 8 or 16 bytes from global to shared memory, while the threads go on.

#include <array>
#include <bit>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"

namespace annulus::cudasim {
namespace {

// cp.async [to], [from], bytes {, given}: bytes beyond those given become zero
void issue(Warp& warp, const Op& op, LaneMask lanes) {
  const uint32_t bytes = *warp.words(op.slots[2]);
  Addresses to, from;
  uint32_t given[kLanes];
  LaneMask reading = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    to.of[lane] = warp.bits(op, 0, lane) + static_cast<uint64_t>(op.offset);
    from.of[lane] = warp.bits(op, 1, lane) + static_cast<uint64_t>(op.second_offset);
    given[lane] = op.operand_count > 3 ? read<uint32_t>(warp, op, 3)[lane] : bytes;
    reading |= (given[lane] > 0 ? lanes : 0) & LaneMask{1} << lane;
    if (given[lane] > bytes && (lanes >> lane & 1) != 0)
      warp.fault(FaultKind::kOutOfBounds, op, lane, "cp.async is given more source bytes than it copies");
  }
  warp.copies().issue(warp, op, lanes, to, from, bytes, given);
  if (reading != 0) warp.count_in(op, Space::kGlobal, from, reading, bytes);
  warp.count_in(op, Space::kShared, to, lanes, bytes);
}

bool prepare(const Instruction& in, Op& op) {
  if (!in.has("async")) return false;
  if (in.has("commit_group")) {
    op.run = [](Warp& warp, const Op&, LaneMask lanes) { warp.copies().commit(lanes); };
  } else if (in.has("wait_group")) {
    op.run = [](Warp& warp, const Op& self, LaneMask lanes) {
      warp.copies().wait_groups(warp, lanes, *warp.words(self.slots[0]));
    };
  } else if (in.has("wait_all")) {
    op.run = [](Warp& warp, const Op&, LaneMask lanes) { warp.copies().wait_all(warp, lanes); };
  } else if (in.has("global") && op.operand_count >= 3) {
    const uint64_t bytes = in.operands[2].value;
    op.run = issue;
    return in.operands[2].kind == Operand::Kind::kImmediate &&
           (bytes == 16 || (in.has("ca") && (bytes == 4 || bytes == 8)));
  }
  return op.run != nullptr;
}

constexpr std::array<Family, 1> kFamilies{
    {{"cp", prepare,
      " async ca cg shared shared::cta global commit_group wait_group wait_all L2::64B L2::128B L2::256B "}}};

}  // namespace

std::span<const Family> async_families() { return kFamilies; }

}  // namespace annulus::cudasim
