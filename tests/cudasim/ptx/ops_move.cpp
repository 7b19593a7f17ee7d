// mov, cvta and isspacep: registers, packed registers, addresses of variables, special registers.

#include <array>

#include "tests/cudasim/ptx/block.h"
#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"

namespace annulus::cudasim {
namespace {

template <class T>
void copy(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1);
  write<T>(warp, op, lanes, [&](int lane) { return a[lane]; });
}

void copy_predicate(Warp& warp, const Op& op, LaneMask lanes) {
  write_predicate(warp, op.slots[0], lanes, warp.predicate(op, 1));
}

// A register made of 2 or 4 parts of op.extra bits each, the first in the low bits.
template <class T>
void pack(Warp& warp, const Op& op, LaneMask lanes) {
  const int parts = static_cast<int>(op.operand_count) - 1;
  const uint64_t mask = (uint64_t{1} << op.extra) - 1;
  write<T>(warp, op, lanes, [&](int lane) {
    uint64_t whole = 0;
    for (int i = 0; i < parts; ++i) whole |= (warp.bits(op, i + 1, lane) & mask) << (i * op.extra);
    return static_cast<T>(whole);
  });
}

void unpack(Warp& warp, const Op& op, LaneMask lanes) {
  const int parts = static_cast<int>(op.operand_count) - 1;
  const uint64_t mask = (uint64_t{1} << op.extra) - 1;
  uint64_t whole[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) whole[lane] = warp.bits(op, parts, lane);
  for (int i = 0; i < parts; ++i)
    write<uint32_t>(
        warp, op, lanes, [&](int lane) { return static_cast<uint32_t>(whole[lane] >> (i * op.extra) & mask); }, i);
}

// Clocks count instructions of the launch: they go forward, and no more than that is promised.
template <class T>
void clock(Warp& warp, const Op& op, LaneMask lanes) {
  write<T>(warp, op, lanes, [&](int) { return static_cast<T>(warp.block().launch().executed); });
}

bool prepare_mov(const Instruction& in, Op& op) {
  const uint32_t size = size_of(in.type());
  if (in.operands.size() != 2) return false;
  const Operand &to = in.operands[0], &from = in.operands[1];
  if (in.type() == Type::kPred) {
    op.run = copy_predicate;
  } else if (from.kind == Operand::Kind::kVector) {
    op.extra = static_cast<uint8_t>(8 * size / from.parts.size());
    op.run = size == 8 ? pack<uint64_t> : pack<uint32_t>;
  } else if (to.kind == Operand::Kind::kVector) {
    op.extra = static_cast<uint8_t>(8 * size / to.parts.size());
    op.run = unpack;
  } else if (from.kind == Operand::Kind::kSpecial && (from.name.starts_with("%clock") || from.name == "%globaltimer")) {
    op.run = size == 8 ? clock<uint64_t> : clock<uint32_t>;
  } else {
    op.run = size == 8 ? copy<uint64_t> : copy<uint32_t>;
  }
  return true;
}

uint64_t window_of(Space space) {
  return space == Space::kShared  ? kSharedWindow
         : space == Space::kLocal ? kLocalWindow
         : space == Space::kParam ? kParamWindow
                                  : 0;  // global and const addresses are generic ones
}

Space space_of(const Instruction& in) {
  for (const Space space : {Space::kConst, Space::kShared, Space::kLocal, Space::kParam})
    if (in.has(name_of(space)) || (space == Space::kShared && in.has("shared::cta"))) return space;
  return Space::kGlobal;
}

// To a generic address, or (cvta.to) from one.
void convert_address(Warp& warp, const Op& op, LaneMask lanes) {
  const uint64_t add = op.extra != 0 ? 0 - window_of(op.space) : window_of(op.space);
  write<uint64_t>(warp, op, lanes, [&](int lane) { return warp.bits(op, 1, lane) + add; });
}

bool prepare_cvta(const Instruction& in, Op& op) {
  op.space = space_of(in);
  op.extra = in.has("to") ? 1 : 0;
  op.run = convert_address;
  return size_of(in.type()) == 8;
}

void is_in_space(Warp& warp, const Op& op, LaneMask lanes) {
  const LaneMask yes = lanes_where([&](int lane) {
    const uint64_t address = warp.bits(op, 1, lane);
    const Space space = address >= kParamWindow    ? Space::kParam
                        : address >= kLocalWindow  ? Space::kLocal
                        : address >= kSharedWindow ? Space::kShared
                                                   : Space::kGlobal;
    return space == op.space;
  });
  write_predicate(warp, op.slots[0], lanes, yes);
}

bool prepare_isspacep(const Instruction& in, Op& op) {
  op.space = space_of(in);
  op.run = is_in_space;
  return op.space != Space::kConst;
}

constexpr std::array<Family, 3> kFamilies{
    {{"mov", prepare_mov, " "},
     {"cvta", prepare_cvta, " to global const shared local param shared::cta "},
     {"isspacep", prepare_isspacep, " global const shared local param shared::cta "}}};

}  // namespace

std::span<const Family> move_families() { return kFamilies; }

}  // namespace annulus::cudasim
