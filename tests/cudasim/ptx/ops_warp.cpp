// What the lanes of a warp do together: shuffles, votes, matches, reductions. The warp has already gathered the member
// mask's lanes; the handler sees exactly those.

#include <algorithm>
#include <array>
#include <bit>

#include "tests/cudasim/ptx/block.h"
#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"

namespace annulus::cudasim {
namespace {

enum Shuffle : uint8_t { kUp, kDown, kButterfly, kIndex };

struct SourceLane {
  int lane;
  bool in_range;
};

SourceLane source_lane(uint8_t mode, int lane, uint32_t b, uint32_t c) {
  const int by = static_cast<int>(b & 31), segment = static_cast<int>(c >> 8 & 31), clamp = static_cast<int>(c & 31);
  const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
  int from = lane;
  bool in_range = false;
  switch (mode) {
    case kUp:
      from = lane - by;
      in_range = from >= last;
      break;
    case kDown:
      from = lane + by;
      in_range = from <= last;
      break;
    case kButterfly:
      from = lane ^ by;
      in_range = from <= last;
      break;
    default:
      from = first | (by & ~segment);
      in_range = from <= last;
  }
  return {in_range ? from : lane, in_range};
}

// shfl.sync d|p, a, b, c, mask. A lane that takes no part gives no defined value.
void shuffle(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<uint32_t> a = read<uint32_t>(warp, op, 2), b = read<uint32_t>(warp, op, 3),
                        c = read<uint32_t>(warp, op, 4);
  LaneMask in_range = 0;
  uint32_t result[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const SourceLane from = source_lane(op.extra2, lane, b[lane], c[lane]);
    in_range |= static_cast<LaneMask>(from.in_range ? 1 : 0) << lane;
    result[lane] = lanes >> from.lane & 1 ? a[from.lane] : ~0u;
  }
  store_cells(warp.words(op.slots[0]), result, lanes);
  write_predicate(warp, op.slots[1], lanes, in_range);
}

bool synchronised(const Instruction& in, Op& op, uint8_t mask_operand) {
  op.control = Control::kSync;
  op.extra = mask_operand;
  return in.has("sync") && op.operand_count > mask_operand;
}

bool prepare_shfl(const Instruction& in, Op& op) {
  op.extra2 = in.has("up") ? kUp : in.has("down") ? kDown : in.has("bfly") ? kButterfly : kIndex;
  op.run = shuffle;
  return synchronised(in, op, 5);
}

void vote_ballot(Warp& warp, const Op& op, LaneMask lanes) {
  const LaneMask yes = warp.predicate(op, 1) & lanes;
  write<uint32_t>(warp, op, lanes, [&](int) { return yes; });
}

template <class F>
Handler vote(F) {
  return [](Warp& warp, const Op& op, LaneMask lanes) {
    write_predicate(warp, op.slots[0], lanes, F{}(warp.predicate(op, 1) & lanes, lanes) ? kAllLanes : 0);
  };
}

bool prepare_vote(const Instruction& in, Op& op) {
  if (in.has("ballot"))
    op.run = vote_ballot;
  else if (in.has("all"))
    op.run = vote([](LaneMask yes, LaneMask lanes) { return yes == lanes; });
  else if (in.has("any"))
    op.run = vote([](LaneMask yes, LaneMask) { return yes != 0; });
  else
    op.run = vote([](LaneMask yes, LaneMask lanes) { return yes == 0 || yes == lanes; });
  return synchronised(in, op, 2);
}

// match.any d, a: the lanes with my value; match.all d|p, a: the lanes, if all have one value
void match_any(Warp& warp, const Op& op, LaneMask lanes) {
  uint32_t same[kLanes];
  for (int mine = 0; mine < kLanes; ++mine)
    same[mine] = lanes & lanes_where([&](int lane) { return warp.bits(op, 2, lane) == warp.bits(op, 2, mine); });
  store_cells(warp.words(op.slots[0]), same, lanes);
}

void match_all(Warp& warp, const Op& op, LaneMask lanes) {
  const uint64_t first = warp.bits(op, 2, std::countr_zero(lanes));
  const LaneMask same = lanes & lanes_where([&](int lane) { return warp.bits(op, 2, lane) == first; });
  const LaneMask result = same == lanes ? lanes : 0;
  write<uint32_t>(warp, op, lanes, [&](int) { return result; });
  write_predicate(warp, op.slots[1], lanes, result);
}

bool prepare_match(const Instruction& in, Op& op) {
  op.run = in.has("all") ? match_all : match_any;
  return synchronised(in, op, 3);
}

template <class T, class F>
Handler reduction(F) {
  return [](Warp& warp, const Op& op, LaneMask lanes) {
    const Lanes<T> a = read<T>(warp, op, 1);
    T sum = a[std::countr_zero(lanes)];
    for (LaneMask left = lanes & (lanes - 1); left != 0; left &= left - 1) sum = F{}(sum, a[std::countr_zero(left)]);
    write<T>(warp, op, lanes, [&](int) { return sum; });
  };
}

template <class T>
Handler reduction_of(const Instruction& in) {
  if (in.has("add"))
    return reduction<T>([](T a, T b) { return static_cast<T>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b)); });
  if (in.has("min")) return reduction<T>([](T a, T b) { return std::min(a, b); });
  if (in.has("max")) return reduction<T>([](T a, T b) { return std::max(a, b); });
  if (in.has("and")) return reduction<T>([](T a, T b) { return a & b; });
  if (in.has("or")) return reduction<T>([](T a, T b) { return a | b; });
  return reduction<T>([](T a, T b) { return a ^ b; });
}

bool prepare_redux(const Instruction& in, Op& op) {
  op.run = in.type() == Type::kS32 ? reduction_of<int32_t>(in) : reduction_of<uint32_t>(in);
  return synchronised(in, op, 2) && in.type() != Type::kF32;
}

bool prepare_activemask(const Instruction&, Op& op) {
  op.run = [](Warp& warp, const Op& self, LaneMask lanes) {
    write<uint32_t>(warp, self, lanes, [&](int) { return lanes; });
  };
  return true;
}

constexpr std::array<Family, 5> kFamilies{{{"shfl", prepare_shfl, " sync up down bfly idx "},
                                           {"vote", prepare_vote, " sync ballot all any uni "},
                                           {"match", prepare_match, " sync any all "},
                                           {"redux", prepare_redux, " sync add min max and or xor "},
                                           {"activemask", prepare_activemask, " "}}};

}  // namespace

std::span<const Family> warp_families() { return kFamilies; }

}  // namespace annulus::cudasim
