// setp, set, selp and slct.

#include <array>
#include <cmath>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"
#include "tests/cudasim/ptx/number.h"

namespace annulus::cudasim {
namespace {

enum Combine : uint8_t { kAlone, kAnd, kOr, kXor };
enum Facts : uint8_t { kFlushes = 1, kFloatResult = 2 };

uint8_t combine_of(const Instruction& in) {
  return in.has("and") ? kAnd : in.has("or") ? kOr : in.has("xor") ? kXor : kAlone;
}

LaneMask combined(const Warp& warp, const Op& op, int operand, LaneMask values) {
  switch (op.extra) {
    case kAnd:
      return values & warp.predicate(op, operand);
    case kOr:
      return values | warp.predicate(op, operand);
    case kXor:
      return values ^ warp.predicate(op, operand);
    default:
      return values;
  }
}

template <class T>
struct Bits16As {  // reads f16 and bf16 as floats
  Lanes<uint16_t> lanes;
  float operator[](int lane) const { return widen<T>(lanes[lane]); }
};

template <class T>
auto values(const Warp& warp, const Op& op, int operand) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bfloat>)
    return Bits16As<T>{read<uint16_t>(warp, op, operand)};
  else
    return read<T>(warp, op, operand);
}

template <class T, class Test>
LaneMask compare(const Warp& warp, const Op& op, int first) {
  const auto a = values<T>(warp, op, first), b = values<T>(warp, op, first + 1);
  if constexpr (std::is_same_v<T, float>)
    if (op.extra2 & kFlushes) return lanes_where([&](int lane) { return Test{}(flush(a[lane]), flush(b[lane])); });
  return lanes_where([&](int lane) { return Test{}(a[lane], b[lane]); });
}

// setp p|q, a, b, c: p = (a cmp b) op c, q = !(a cmp b) op c
template <class T, class Test>
void set_predicate(Warp& warp, const Op& op, LaneMask lanes) {
  const LaneMask result = compare<T, Test>(warp, op, 2);
  const LaneMask p = combined(warp, op, 4, result), q = combined(warp, op, 4, ~result);
  write_predicate(warp, op.slots[0], lanes, p);
  write_predicate(warp, op.slots[1], lanes, q);
}

// set d, a, b: all ones or 1.0f where the comparison holds
template <class T, class Test>
void set_register(Warp& warp, const Op& op, LaneMask lanes) {
  const LaneMask result = combined(warp, op, 3, compare<T, Test>(warp, op, 1));
  const uint32_t yes = op.extra2 & kFloatResult ? std::bit_cast<uint32_t>(1.0f) : ~0u;
  write<uint32_t>(warp, op, lanes, [&](int lane) { return result >> lane & 1 ? yes : 0; });
}

template <class T, class Test>
Handler handler(bool predicate, Test) {
  return predicate ? set_predicate<T, Test> : set_register<T, Test>;
}

template <class T>
Handler ordered(const Instruction& in, bool p) {
  if (in.has("eq")) return handler<T>(p, [](auto a, auto b) { return a == b; });
  if (in.has("ne")) {  // of floats: false where one is NaN
    if constexpr (std::is_integral_v<T>) return handler<T>(p, [](auto a, auto b) { return a != b; });
    return handler<T>(p, [](auto a, auto b) { return a < b || a > b; });
  }
  if (in.has("lt") || in.has("lo")) return handler<T>(p, [](auto a, auto b) { return a < b; });
  if (in.has("le") || in.has("ls")) return handler<T>(p, [](auto a, auto b) { return a <= b; });
  if (in.has("gt") || in.has("hi")) return handler<T>(p, [](auto a, auto b) { return a > b; });
  if (in.has("ge") || in.has("hs")) return handler<T>(p, [](auto a, auto b) { return a >= b; });
  return nullptr;
}

template <class T>
Handler floating(const Instruction& in, bool p) {
  if (in.has("equ")) return handler<T>(p, [](auto a, auto b) { return !(a < b || a > b); });
  if (in.has("neu")) return handler<T>(p, [](auto a, auto b) { return !(a == b); });
  if (in.has("ltu")) return handler<T>(p, [](auto a, auto b) { return !(a >= b); });
  if (in.has("leu")) return handler<T>(p, [](auto a, auto b) { return !(a > b); });
  if (in.has("gtu")) return handler<T>(p, [](auto a, auto b) { return !(a <= b); });
  if (in.has("geu")) return handler<T>(p, [](auto a, auto b) { return !(a < b); });
  if (in.has("num")) return handler<T>(p, [](auto a, auto b) { return a == a && b == b; });
  if (in.has("nan")) return handler<T>(p, [](auto a, auto b) { return a != a || b != b; });
  return ordered<T>(in, p);
}

bool prepare_set(const Instruction& in, Op& op) {
  const bool predicate = in.opcode == "setp";
  op.extra = combine_of(in);
  op.extra2 = static_cast<uint8_t>((in.has("ftz") ? kFlushes : 0) |
                                   (!predicate && in.type(0) == Type::kF32 ? kFloatResult : 0));
  const Type type = in.type(predicate ? 0 : 1);
  switch (type) {
    case Type::kF32:
      op.run = floating<float>(in, predicate);
      break;
    case Type::kF64:
      op.run = floating<double>(in, predicate);
      break;
    case Type::kF16:
      op.run = floating<Half>(in, predicate);
      break;
    case Type::kBf16:
      op.run = floating<Bfloat>(in, predicate);
      break;
    default:
      op.run = with_integer(type, [&]<class T>(Tag<T>) { return ordered<T>(in, predicate); });
  }
  return op.run != nullptr && (predicate || size_of(in.type(0)) == 4);
}

template <class T>
void select(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1), b = read<T>(warp, op, 2);
  const LaneMask which = warp.predicate(op, 3);
  write<T>(warp, op, lanes, [&](int lane) { return (which >> lane & 1) != 0 ? a[lane] : b[lane]; });
}

bool prepare_selp(const Instruction& in, Op& op) {
  op.run = size_of(in.type()) == 8 ? select<uint64_t> : select<uint32_t>;
  return true;
}

// slct d, a, b, c: a where c is not negative
template <class T, class C>
void select_by_sign(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1), b = read<T>(warp, op, 2);
  const Lanes<C> c = read<C>(warp, op, 3);
  write<T>(warp, op, lanes, [&](int lane) { return c[lane] >= 0 ? a[lane] : b[lane]; });
}

bool prepare_slct(const Instruction& in, Op& op) {
  const bool wide = size_of(in.type(0)) == 8;
  if (in.type(1) == Type::kF32)
    op.run = wide ? select_by_sign<uint64_t, float> : select_by_sign<uint32_t, float>;
  else
    op.run = wide ? select_by_sign<uint64_t, int32_t> : select_by_sign<uint32_t, int32_t>;
  return true;
}

constexpr std::string_view kTests = " eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan and or xor ftz ";

constexpr std::array<Family, 4> kFamilies{{{"setp", prepare_set, kTests},
                                           {"set", prepare_set, kTests},
                                           {"selp", prepare_selp, " "},
                                           {"slct", prepare_slct, " "}}};

}  // namespace

std::span<const Family> compare_families() { return kFamilies; }

}  // namespace annulus::cudasim
