// atom and red. The lanes of a warp go one after the other, in the order of their numbers.

#include <array>
#include <cmath>
#include <cstring>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"
#include "tests/cudasim/ptx/number.h"

namespace annulus::cudasim {
namespace {

// op.extra2: 1 for atom, whose first operand takes the old value; red has none.
template <class T, class F>
void update(Warp& warp, const Op& op, LaneMask lanes) {
  const int place = op.extra2, value = place + 1, swap = place + 2;
  Addresses at;
  warp.addresses(op, place, lanes, at);
  warp.count(op, at, lanes, sizeof(T));
  Cell<T> old_cells[kLanes] = {};
  for (LaneMask left = lanes; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    const Bytes bytes = warp.reach(op, lane, at.of[lane], sizeof(T), MemoryAccess::Kind::kAtomic);
    T old;
    std::memcpy(&old, bytes.data, sizeof(T));
    const T second = static_cast<int>(op.operand_count) > swap ? read<T>(warp, op, swap)[lane] : T{};
    const T fresh = F{}(old, read<T>(warp, op, value)[lane], second);
    std::memcpy(bytes.data, &fresh, sizeof(T));
    old_cells[lane] = to_cell<T>(old);
  }
  if (op.extra2 != 0) store_cells(warp.words(op.slots[0]), old_cells, lanes);
}

template <class T>
Handler integer_update(const Instruction& in) {
  using U = std::make_unsigned_t<T>;
  if (in.has("add")) return update<T, decltype([](T a, T b, T) { return static_cast<T>(U(a) + U(b)); })>;
  if (in.has("min")) return update<T, decltype([](T a, T b, T) { return a < b ? a : b; })>;
  if (in.has("max")) return update<T, decltype([](T a, T b, T) { return a > b ? a : b; })>;
  if (in.has("and")) return update<T, decltype([](T a, T b, T) { return static_cast<T>(a & b); })>;
  if (in.has("or")) return update<T, decltype([](T a, T b, T) { return static_cast<T>(a | b); })>;
  if (in.has("xor")) return update<T, decltype([](T a, T b, T) { return static_cast<T>(a ^ b); })>;
  if (in.has("exch")) return update<T, decltype([](T, T b, T) { return b; })>;
  if (in.has("cas")) return update<T, decltype([](T a, T b, T c) { return a == b ? c : a; })>;
  if (in.has("inc")) return update<T, decltype([](T a, T b, T) { return static_cast<T>(a >= b ? 0 : a + 1); })>;
  if (in.has("dec"))
    return update<T, decltype([](T a, T b, T) { return static_cast<T>(a == 0 || a > b ? b : a - 1); })>;
  return nullptr;
}

template <class Format>
uint16_t add_small(uint32_t a, uint32_t b) {
  const auto wide = [](uint32_t bits) { return static_cast<double>(widen<Format>(static_cast<uint16_t>(bits))); };
  return narrow<Format>(odd_sum(wide(a), wide(b)));
}
template <class Format>
uint32_t add_pair(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(add_small<Format>(a >> 16, b >> 16)) << 16 | add_small<Format>(a, b);
}

Handler float_update(Type type) {
  switch (type) {
    case Type::kF32:
      return update<float, decltype([](float a, float b, float) { return canonical(a + b); })>;
    case Type::kF64:
      return update<double, decltype([](double a, double b, double) { return a + b; })>;
    case Type::kF16:
      return update<uint16_t, decltype([](uint16_t a, uint16_t b, uint16_t) { return add_small<Half>(a, b); })>;
    case Type::kBf16:
      return update<uint16_t, decltype([](uint16_t a, uint16_t b, uint16_t) { return add_small<Bfloat>(a, b); })>;
    case Type::kF16x2:
      return update<uint32_t, decltype([](uint32_t a, uint32_t b, uint32_t) { return add_pair<Half>(a, b); })>;
    case Type::kBf16x2:
      return update<uint32_t, decltype([](uint32_t a, uint32_t b, uint32_t) { return add_pair<Bfloat>(a, b); })>;
    default:
      return nullptr;
  }
}

bool prepare(const Instruction& in, Op& op) {
  op.extra2 = in.opcode == "atom" ? 1 : 0;
  const Type type = in.type();
  if (is_integer(type))
    op.run = with_integer(type, [&]<class T>(Tag<T>) { return integer_update<T>(in); });
  else
    op.run = in.has("add") ? float_update(type) : nullptr;
  return op.run != nullptr;
}

constexpr std::string_view kModifiers =
    " generic global shared shared::cta add min max and or xor exch cas inc dec relaxed acquire release acq_rel cta "
    "gpu sys "
    "noftz ";

constexpr std::array<Family, 2> kFamilies{{{"atom", prepare, kModifiers}, {"red", prepare, kModifiers}}};

}  // namespace

std::span<const Family> atomic_families() { return kFamilies; }

}  // namespace annulus::cudasim
