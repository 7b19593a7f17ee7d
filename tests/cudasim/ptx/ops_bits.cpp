// Logic, shifts and bit fields.

#include <algorithm>
#include <array>
#include <bit>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"

namespace annulus::cudasim {
namespace {

bool set(Op& op, Handler run) {
  op.run = run;
  return run != nullptr;
}

template <class F>
Handler with_bits(Type type, F f) {
  const uint32_t size = size_of(type);
  if (size == 2) return f(Tag<uint16_t>{});
  if (size == 4) return f(Tag<uint32_t>{});
  return size == 8 ? f(Tag<uint64_t>{}) : nullptr;
}

template <class F>
Handler predicate_logic(F) {
  return [](Warp& warp, const Op& op, LaneMask lanes) {
    write_predicate(warp, op.slots[0], lanes,
                    F{}(warp.predicate(op, 1), op.operand_count > 2 ? warp.predicate(op, 2) : 0));
  };
}

// all(F) applies F to predicates and to registers of any width.
template <class F>
Handler logic(Type type, F) {
  if (type == Type::kPred) return predicate_logic(F{});
  return with_bits(type, []<class T>(Tag<T>) { return binary<T>([](T a, T b) { return static_cast<T>(F{}(a, b)); }); });
}

bool prepare_logic(const Instruction& in, Op& op) {
  if (in.opcode == "and") return set(op, logic(in.type(), [](auto a, auto b) { return a & b; }));
  if (in.opcode == "or") return set(op, logic(in.type(), [](auto a, auto b) { return a | b; }));
  return set(op, logic(in.type(), [](auto a, auto b) { return a ^ b; }));
}

bool prepare_not(const Instruction& in, Op& op) {
  if (in.type() == Type::kPred) return set(op, predicate_logic([](uint32_t a, uint32_t) { return ~a; }));
  return set(op, with_bits(in.type(), [&]<class T>(Tag<T>) {
               if (in.opcode == "cnot") return unary<T>([](T a) { return static_cast<T>(a == 0 ? 1 : 0); });
               return unary<T>([](T a) { return static_cast<T>(~a); });
             }));
}

// Shifts by more than the width give what shifting bit by bit would.
template <class T, bool kRight>
void shift(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1);
  const Lanes<uint32_t> by = read<uint32_t>(warp, op, 2);
  constexpr uint32_t kWidth = 8 * sizeof(T);
  write<T>(warp, op, lanes, [&](int lane) {
    const uint32_t distance = by[lane], within = std::min(distance, kWidth - 1);
    if constexpr (kRight) {
      const T shifted = static_cast<T>(a[lane] >> within);
      return std::is_signed_v<T> || distance < kWidth ? shifted : T{0};
    } else {
      return distance < kWidth ? static_cast<T>(static_cast<uint64_t>(a[lane]) << within) : T{0};
    }
  });
}

bool prepare_shift(const Instruction& in, Op& op) {
  return set(op, with_integer(in.type(), [&]<class T>(Tag<T>) -> Handler {
               return in.opcode == "shr" ? shift<T, true> : shift<T, false>;
             }));
}

// 32 bits out of the 64 of b:a.
template <bool kRight, bool kClamp>
void funnel_shift(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<uint32_t> a = read<uint32_t>(warp, op, 1), b = read<uint32_t>(warp, op, 2),
                        by = read<uint32_t>(warp, op, 3);
  write<uint32_t>(warp, op, lanes, [&](int lane) {
    const uint32_t distance = kClamp ? std::min(by[lane], 32u) : by[lane] & 31;
    const uint64_t both = static_cast<uint64_t>(b[lane]) << 32 | a[lane];
    return static_cast<uint32_t>(kRight ? both >> distance : both << distance >> 32);
  });
}

bool prepare_funnel(const Instruction& in, Op& op) {
  const bool clamp = in.has("clamp");
  if (in.has("r")) return set(op, clamp ? funnel_shift<true, true> : funnel_shift<true, false>);
  return set(op, clamp ? funnel_shift<false, true> : funnel_shift<false, false>);
}

void three_input_logic(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<uint32_t> a = read<uint32_t>(warp, op, 1), b = read<uint32_t>(warp, op, 2),
                        c = read<uint32_t>(warp, op, 3);
  const uint32_t table = *warp.words(op.slots[4]);
  write<uint32_t>(warp, op, lanes, [&](int lane) {
    uint32_t result = 0;
    for (uint32_t row = 0; row < 8; ++row) {
      const uint32_t here =
          (row & 4 ? a[lane] : ~a[lane]) & (row & 2 ? b[lane] : ~b[lane]) & (row & 1 ? c[lane] : ~c[lane]);
      result |= table >> row & 1 ? here : 0;
    }
    return result;
  });
}

bool prepare_lop3(const Instruction& in, Op& op) { return in.types.size() == 1 && set(op, three_input_logic); }

template <class T>
void extract_field(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1);
  const Lanes<uint32_t> from = read<uint32_t>(warp, op, 2), count = read<uint32_t>(warp, op, 3);
  constexpr uint32_t kTop = 8 * sizeof(T) - 1;
  write<T>(warp, op, lanes, [&](int lane) {
    const uint32_t first = from[lane] & 0xff, length = count[lane] & 0xff;
    if (length == 0) return T{0};
    const uint32_t last = std::min(first + length - 1, kTop);
    const T sign = std::is_signed_v<T> && (a[lane] >> last & 1) ? static_cast<T>(-1) : T{0};
    if (first > kTop) return sign;
    const uint32_t kept = last - first + 1;
    const uint64_t mask = kept >= 64 ? ~uint64_t{0} : (uint64_t{1} << kept) - 1;
    return static_cast<T>((static_cast<uint64_t>(a[lane]) >> first & mask) | (static_cast<uint64_t>(sign) & ~mask));
  });
}

bool prepare_bfe(const Instruction& in, Op& op) {
  return set(op, with_integer(in.type(), []<class T>(Tag<T>) -> Handler {
               if constexpr (sizeof(T) == 2) return nullptr;
               return extract_field<T>;
             }));
}

template <class T>
void insert_field(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<T> a = read<T>(warp, op, 1), b = read<T>(warp, op, 2);
  const Lanes<uint32_t> to = read<uint32_t>(warp, op, 3), count = read<uint32_t>(warp, op, 4);
  constexpr uint32_t kWidth = 8 * sizeof(T);
  write<T>(warp, op, lanes, [&](int lane) {
    const uint32_t first = to[lane] & 0xff, length = std::min(count[lane] & 0xff, kWidth);
    if (first >= kWidth || length == 0) return b[lane];
    const T mask = static_cast<T>((length == kWidth ? ~T{0} : (T{1} << length) - 1) << first);
    return static_cast<T>((static_cast<T>(a[lane] << first) & mask) | (b[lane] & ~mask));
  });
}

bool prepare_bfi(const Instruction& in, Op& op) {
  return set(op, in.type() == Type::kB64 ? insert_field<uint64_t> : insert_field<uint32_t>);
}

// The eight bytes of b:a, chosen by the nibbles of c; a nibble's top bit asks for the sign of its byte.
uint32_t permute(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  uint32_t result = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t choice = selector >> (4 * i) & 0xf;
    uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (choice & 7))) & 0xff;
    if (choice & 8) byte = byte & 0x80 ? 0xff : 0;
    result |= byte << (8 * i);
  }
  return result;
}

enum PermuteMode : uint8_t { kDefault, kForward, kBackward, kReplicate8, kEdgeLeft, kEdgeRight, kReplicate16 };

uint32_t selector_of(uint8_t mode, uint32_t control) {
  constexpr uint32_t kSelectors[6][4] = {{0x3210, 0x4321, 0x5432, 0x6543}, {0x5670, 0x6701, 0x7012, 0x0123},
                                         {0x0000, 0x1111, 0x2222, 0x3333}, {0x3210, 0x3211, 0x3222, 0x3333},
                                         {0x0000, 0x1110, 0x2210, 0x3210}, {0x1010, 0x3232, 0x1010, 0x3232}};
  return mode == kDefault ? control : kSelectors[mode - 1][control & 3];
}

void permute_bytes(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<uint32_t> a = read<uint32_t>(warp, op, 1), b = read<uint32_t>(warp, op, 2),
                        c = read<uint32_t>(warp, op, 3);
  write<uint32_t>(warp, op, lanes, [&](int lane) { return permute(a[lane], b[lane], selector_of(op.extra, c[lane])); });
}

bool prepare_prmt(const Instruction& in, Op& op) {
  constexpr std::string_view kModes[] = {"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
  for (uint8_t i = 0; i < 6; ++i)
    if (in.has(kModes[i])) op.extra = static_cast<uint8_t>(i + 1);
  return set(op, permute_bytes);
}

// d has 32 bits whatever the width of a.
template <class T, class F>
Handler count_of(F) {
  return [](Warp& warp, const Op& op, LaneMask lanes) {
    const Lanes<T> a = read<T>(warp, op, 1);
    write<uint32_t>(warp, op, lanes, [&](int lane) { return static_cast<uint32_t>(F{}(a[lane])); });
  };
}

bool prepare_count(const Instruction& in, Op& op) {
  return set(op, with_bits(in.type(), [&]<class T>(Tag<T>) -> Handler {
               if constexpr (sizeof(T) == 2) return nullptr;
               if (in.opcode == "popc") return count_of<T>([](T a) { return std::popcount(a); });
               return count_of<T>([](T a) { return std::countl_zero(a); });
             }));
}

// The highest bit that is set (that differs from the sign), all ones if there is none.
template <class T, bool kShift>
uint32_t highest_bit(T value) {
  using U = std::make_unsigned_t<T>;
  const U bits = static_cast<U>(std::is_signed_v<T> && value < 0 ? ~value : value);
  if (bits == 0) return ~0u;
  const int zeros = std::countl_zero(bits);
  return static_cast<uint32_t>(kShift ? zeros : static_cast<int>(8 * sizeof(T)) - 1 - zeros);
}

bool prepare_bfind(const Instruction& in, Op& op) {
  return set(op, with_integer(in.type(), [&]<class T>(Tag<T>) -> Handler {
               if constexpr (sizeof(T) == 2) return nullptr;
               if (in.has("shiftamt")) return count_of<T>([](T a) { return highest_bit<T, true>(a); });
               return count_of<T>([](T a) { return highest_bit<T, false>(a); });
             }));
}

template <class T>
T reverse(T value) {
  T result = 0;
  for (size_t i = 0; i < 8 * sizeof(T); ++i) result = static_cast<T>(result << 1 | (value >> i & 1));
  return result;
}

bool prepare_brev(const Instruction& in, Op& op) {
  return set(op, in.type() == Type::kB64 ? unary<uint64_t>([](uint64_t a) { return reverse(a); })
                                         : unary<uint32_t>([](uint32_t a) { return reverse(a); }));
}

// Ones from bit a on, b of them; what lies beyond bit 31 is cut off.
template <bool kClamp>
uint32_t mask_of(uint32_t from, uint32_t count) {
  if (!kClamp) from &= 31, count &= 31;
  if (from > 31) return 0;
  return (count > 31 ? ~0u : (1u << count) - 1) << from;
}

bool prepare_bmsk(const Instruction& in, Op& op) {
  if (in.has("clamp")) return set(op, binary<uint32_t>([](uint32_t a, uint32_t b) { return mask_of<true>(a, b); }));
  return set(op, binary<uint32_t>([](uint32_t a, uint32_t b) { return mask_of<false>(a, b); }));
}

constexpr std::array<Family, 17> kFamilies{{{"and", prepare_logic, " "},
                                            {"or", prepare_logic, " "},
                                            {"xor", prepare_logic, " "},
                                            {"not", prepare_not, " "},
                                            {"cnot", prepare_not, " "},
                                            {"shl", prepare_shift, " "},
                                            {"shr", prepare_shift, " "},
                                            {"shf", prepare_funnel, " l r clamp wrap "},
                                            {"lop3", prepare_lop3, " "},
                                            {"bfe", prepare_bfe, " "},
                                            {"bfi", prepare_bfi, " "},
                                            {"prmt", prepare_prmt, " f4e b4e rc8 ecl ecr rc16 "},
                                            {"popc", prepare_count, " "},
                                            {"clz", prepare_count, " "},
                                            {"bfind", prepare_bfind, " shiftamt "},
                                            {"brev", prepare_brev, " "},
                                            {"bmsk", prepare_bmsk, " clamp wrap "}}};

}  // namespace

std::span<const Family> bit_families() { return kFamilies; }

}  // namespace annulus::cudasim
