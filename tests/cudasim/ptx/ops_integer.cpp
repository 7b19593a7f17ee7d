// Integer arithmetic: wraps as two's complement does; a division by zero gives all ones, as the hardware does.

#include <array>
#include <limits>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"

namespace annulus::cudasim {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

template <class T>
using Wide = std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
                                std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;

template <class T>
T add(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
}
template <class T>
T subtract(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
}
template <class T>
T low_product(T a, T b) {  // through 64 bits, for 16-bit factors would be promoted to int and overflow it
  return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
template <class T>
T high_product(T a, T b) {
  if constexpr (sizeof(T) == 8) {
    using Product = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>(static_cast<Product>(a) * b >> 64);
  } else {
    return static_cast<T>(static_cast<Wide<T>>(static_cast<Wide<T>>(a) * b) >> (8 * sizeof(T)));
  }
}
template <class T>
T quotient(T a, T b) {
  if (b == 0) return static_cast<T>(-1);
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return subtract<T>(0, a);
  return static_cast<T>(a / b);
}
template <class T>
T remainder(T a, T b) {
  if (b == 0) return a;
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}
int32_t saturate(int64_t value) {
  using Limits = std::numeric_limits<int32_t>;
  return static_cast<int32_t>(value < Limits::min() ? Limits::min() : value > Limits::max() ? Limits::max() : value);
}

bool set(Op& op, Handler run) {
  op.run = run;
  return run != nullptr;
}

// The carry is one bit per lane, which the decoder appends as the last operand of instructions that use it.
template <class T, bool kSubtract, bool kTakes, bool kGives>
void with_carry(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1), b = read<T>(warp, op, 2);
  uint32_t& flags = *warp.words(op.slots[3]);
  LaneMask carry_out = 0;
  Cell<T> cells[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const T in = kTakes ? static_cast<T>(flags >> lane & 1) : T{0};
    const T first = kSubtract ? static_cast<T>(a[lane] - b[lane]) : static_cast<T>(a[lane] + b[lane]);
    const T sum = kSubtract ? static_cast<T>(first - in) : static_cast<T>(first + in);
    const bool carry = kSubtract ? a[lane] < b[lane] || first < in : first < a[lane] || sum < first;
    carry_out |= static_cast<LaneMask>(carry ? 1 : 0) << lane;
    cells[lane] = sum;
  }
  store_cells(warp.words(op.slots[0]), cells, lanes);
  if (kGives) flags = (flags & ~lanes) | (carry_out & lanes);
}

template <bool kSubtract>
Handler carry_handler(Type type, bool takes, bool gives) {
  return with_integer(type, [&]<class T>(Tag<T>) -> Handler {
    using U = Unsigned<T>;
    if constexpr (sizeof(T) < 4) return nullptr;
    if (takes && gives) return with_carry<U, kSubtract, true, true>;
    return takes ? with_carry<U, kSubtract, true, false> : with_carry<U, kSubtract, false, true>;
  });
}

bool prepare_add(const Instruction& in, Op& op) {
  const bool takes = in.opcode == "addc";
  if (takes || in.has("cc")) return set(op, carry_handler<false>(in.type(), takes, in.has("cc")));
  if (in.has("sat"))
    return in.type() == Type::kS32 &&
           set(op, binary<int32_t>([](int32_t a, int32_t b) { return saturate(int64_t{a} + b); }));
  return set(op,
             with_integer(in.type(), []<class T>(Tag<T>) { return binary<T>([](T a, T b) { return add(a, b); }); }));
}

bool prepare_sub(const Instruction& in, Op& op) {
  const bool takes = in.opcode == "subc";
  if (takes || in.has("cc")) return set(op, carry_handler<true>(in.type(), takes, in.has("cc")));
  if (in.has("sat"))
    return in.type() == Type::kS32 &&
           set(op, binary<int32_t>([](int32_t a, int32_t b) { return saturate(int64_t{a} - b); }));
  return set(
      op, with_integer(in.type(), []<class T>(Tag<T>) { return binary<T>([](T a, T b) { return subtract(a, b); }); }));
}

template <class T>
void multiply_wide(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1), b = read<T>(warp, op, 2);
  write<Wide<T>>(warp, op, lanes,
                 [&](int lane) { return static_cast<Wide<T>>(static_cast<Wide<T>>(a[lane]) * b[lane]); });
}

template <class T>
void multiply_add_wide(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1), b = read<T>(warp, op, 2);
  const Lanes<Wide<T>> c = read<Wide<T>>(warp, op, 3);
  write<Wide<T>>(warp, op, lanes, [&](int lane) {
    return add<Wide<T>>(static_cast<Wide<T>>(static_cast<Wide<T>>(a[lane]) * b[lane]), c[lane]);
  });
}

bool prepare_mul(const Instruction& in, Op& op) {
  return set(op, with_integer(in.type(), [&]<class T>(Tag<T>) -> Handler {
               if (in.has("lo")) return binary<T>([](T a, T b) { return low_product(a, b); });
               if (in.has("hi")) return binary<T>([](T a, T b) { return high_product(a, b); });
               if constexpr (sizeof(T) < 8)
                 if (in.has("wide")) return multiply_wide<T>;
               return nullptr;
             }));
}

// mad.cc and madc: the product's half, then as add.cc and addc. Operand 4 is the carry.
template <class T, bool kHigh, bool kTakes>
void multiply_add_carry(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1), b = read<T>(warp, op, 2), c = read<T>(warp, op, 3);
  uint32_t& flags = *warp.words(op.slots[4]);
  LaneMask carry_out = 0;
  Cell<T> cells[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const T product = kHigh ? high_product(a[lane], b[lane]) : low_product(a[lane], b[lane]);
    const T in = kTakes ? static_cast<T>(flags >> lane & 1) : T{0};
    const T first = product + c[lane], sum = first + in;
    carry_out |= static_cast<LaneMask>(first < product || sum < first ? 1 : 0) << lane;
    cells[lane] = sum;
  }
  store_cells(warp.words(op.slots[0]), cells, lanes);
  if (op.extra != 0) flags = (flags & ~lanes) | (carry_out & lanes);
}

bool prepare_mad(const Instruction& in, Op& op) {
  const bool takes = in.opcode == "madc", high = in.has("hi");
  if (takes || in.has("cc")) {
    op.extra = in.has("cc") ? 1 : 0;
    return set(op, with_integer(in.type(), [&]<class T>(Tag<T>) -> Handler {
                 using U = Unsigned<T>;
                 if constexpr (std::is_signed_v<T> || sizeof(T) < 4) {
                   // The low half of a signed product is that of the unsigned one; the high half is not.
                   if (high || sizeof(T) < 4) return nullptr;
                 }
                 if (high) return takes ? multiply_add_carry<U, true, true> : multiply_add_carry<U, true, false>;
                 return takes ? multiply_add_carry<U, false, true> : multiply_add_carry<U, false, false>;
               }));
  }
  if (in.has("sat"))
    return high && in.type() == Type::kS32 && set(op, ternary<int32_t>([](int32_t a, int32_t b, int32_t c) {
                                                    return saturate(int64_t{high_product(a, b)} + c);
                                                  }));
  return set(op, with_integer(in.type(), [&]<class T>(Tag<T>) -> Handler {
               if (in.has("lo")) return ternary<T>([](T a, T b, T c) { return add(low_product(a, b), c); });
               if (high) return ternary<T>([](T a, T b, T c) { return add(high_product(a, b), c); });
               if constexpr (sizeof(T) < 8)
                 if (in.has("wide")) return multiply_add_wide<T>;
               return nullptr;
             }));
}

// Of the low 24 bits; the low or the high 32 bits of the product's 48.
template <class T, bool kHigh>
T product24(T a, T b) {
  const auto cut = [](T value) { return int64_t{static_cast<T>(static_cast<uint32_t>(value) << 8) >> 8}; };
  return static_cast<T>(cut(a) * cut(b) >> (kHigh ? 16 : 0));
}

template <class T, bool kHigh>
Handler handler24(bool adds) {
  if (adds) return ternary<T>([](T a, T b, T c) { return add(product24<T, kHigh>(a, b), c); });
  return binary<T>([](T a, T b) { return product24<T, kHigh>(a, b); });
}

bool prepare_24(const Instruction& in, Op& op) {
  const bool adds = in.opcode == "mad24", high = in.has("hi");
  if (in.type() == Type::kS32) return set(op, high ? handler24<int32_t, true>(adds) : handler24<int32_t, false>(adds));
  return set(op, high ? handler24<uint32_t, true>(adds) : handler24<uint32_t, false>(adds));
}

bool prepare_two(const Instruction& in, Op& op) {
  return set(op, with_integer(in.type(), [&]<class T>(Tag<T>) -> Handler {
               if (in.opcode == "div") return binary<T>([](T a, T b) { return quotient(a, b); });
               if (in.opcode == "rem") return binary<T>([](T a, T b) { return remainder(a, b); });
               if (in.opcode == "min") return binary<T>([](T a, T b) { return a < b ? a : b; });
               return binary<T>([](T a, T b) { return a > b ? a : b; });
             }));
}

bool prepare_one(const Instruction& in, Op& op) {
  return set(op, with_integer(in.type(), [&]<class T>(Tag<T>) -> Handler {
               if (in.opcode == "neg") return unary<T>([](T a) { return subtract<T>(0, a); });
               return unary<T>([](T a) { return a < 0 ? subtract<T>(0, a) : a; });
             }));
}

bool prepare_sad(const Instruction& in, Op& op) {
  return set(op, with_integer(in.type(), []<class T>(Tag<T>) {
               return ternary<T>([](T a, T b, T c) { return add(a < b ? subtract(b, a) : subtract(a, b), c); });
             }));
}

// The sum of four products of bytes (dp4a), or of two 16-bit numbers with bytes of b from number op.extra on (dp2a).
template <class A, class B>
void dot(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<uint32_t> a = read<uint32_t>(warp, op, 1), b = read<uint32_t>(warp, op, 2),
                        c = read<uint32_t>(warp, op, 3);
  constexpr uint32_t kBits = 8 * sizeof(A), kCount = 32 / kBits;
  write<uint32_t>(warp, op, lanes, [&](int lane) {
    uint32_t sum = c[lane];
    for (uint32_t i = 0; i < kCount; ++i)
      sum += static_cast<uint32_t>(static_cast<A>(a[lane] >> (kBits * i)) *
                                   static_cast<B>(b[lane] >> (8 * (op.extra + i))));
    return sum;
  });
}

template <class SignedA, class UnsignedA>
bool prepare_dot(const Instruction& in, Op& op) {
  const bool a = is_signed_integer(in.type(0)), b = is_signed_integer(in.type(1));
  op.extra = in.has("hi") ? 2 : 0;
  return in.types.size() == 2 && set(op, a ? (b ? dot<SignedA, int8_t> : dot<SignedA, uint8_t>)
                                           : (b ? dot<UnsignedA, int8_t> : dot<UnsignedA, uint8_t>));
}

// vabsdiff2 and vabsdiff4: the distance of each part; with .add their sum, added to c.
template <class T>
void part_distances(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<uint32_t> a = read<uint32_t>(warp, op, 1), b = read<uint32_t>(warp, op, 2),
                        c = read<uint32_t>(warp, op, 3);
  write<uint32_t>(warp, op, lanes, [&](int lane) {
    uint32_t sum = op.extra != 0 ? c[lane] : 0;
    for (uint32_t at = 0; at < 32; at += 8 * sizeof(T)) {
      const auto x = static_cast<T>(a[lane] >> at), y = static_cast<T>(b[lane] >> at);
      const auto distance = static_cast<uint32_t>(x < y ? y - x : x - y);
      sum += op.extra != 0 ? distance : distance << at;
    }
    return sum;
  });
}

// Distances of unsigned parts alone: those of signed ones may need a bit more than fits.
bool prepare_distances(const Instruction& in, Op& op) {
  op.extra = in.has("add") ? 1 : 0;
  for (const Type type : in.types)
    if (type != Type::kU32) return false;
  return set(op, in.opcode == "vabsdiff4" ? part_distances<uint8_t> : part_distances<uint16_t>);
}

constexpr std::array<Family, 20> kFamilies{{{"add", prepare_add, " cc sat "},
                                            {"addc", prepare_add, " cc "},
                                            {"sub", prepare_sub, " cc sat "},
                                            {"subc", prepare_sub, " cc "},
                                            {"mul", prepare_mul, " lo hi wide "},
                                            {"mad", prepare_mad, " lo hi wide cc sat "},
                                            {"madc", prepare_mad, " lo hi cc "},
                                            {"div", prepare_two, " "},
                                            {"rem", prepare_two, " "},
                                            {"min", prepare_two, " "},
                                            {"max", prepare_two, " "},
                                            {"neg", prepare_one, " "},
                                            {"abs", prepare_one, " "},
                                            {"sad", prepare_sad, " "},
                                            {"mul24", prepare_24, " lo hi "},
                                            {"mad24", prepare_24, " lo hi "},
                                            {"dp4a", prepare_dot<int8_t, uint8_t>, " "},
                                            {"dp2a", prepare_dot<int16_t, uint16_t>, " lo hi "},
                                            {"vabsdiff2", prepare_distances, " add "},
                                            {"vabsdiff4", prepare_distances, " add "}}};

}  // namespace

std::span<const Family> integer_families() { return kFamilies; }

}  // namespace annulus::cudasim
