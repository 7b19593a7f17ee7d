// cvt: between integers, between floating point formats, and from each to the other.

#include <array>
#include <cmath>
#include <limits>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"
#include "tests/cudasim/ptx/number.h"

namespace annulus::cudasim {
namespace {

// op.extra: the rounding; op.extra2: these; op.target: the types, destination in the low byte, source above.
enum Facts : uint8_t { kFlushes = 1, kSaturates = 2, kToInteger = 4, kRelu = 8 };

Type to_type(const Op& op) { return static_cast<Type>(op.target & 0xff); }
Type from_type(const Op& op) { return static_cast<Type>(op.target >> 8); }

int64_t extend(uint64_t bits, Type type) {
  const int shift = 64 - 8 * static_cast<int>(size_of(type));
  return is_signed_integer(type) ? static_cast<int64_t>(bits << shift) >> shift
                                 : static_cast<int64_t>(bits << shift >> shift);
}

int64_t least(Type type) {
  return is_signed_integer(type) ? std::numeric_limits<int64_t>::min() >> (64 - 8 * size_of(type)) : 0;
}
uint64_t greatest(Type type) { return ~uint64_t{0} >> (64 - 8 * size_of(type) + (is_signed_integer(type) ? 1 : 0)); }

uint64_t saturate(int64_t value, Type from, Type to) {
  const bool huge = !is_signed_integer(from) && value < 0;  // a u64 above the greatest s64
  if (!huge && value < least(to)) return static_cast<uint64_t>(least(to));
  if (huge || (value > 0 && static_cast<uint64_t>(value) > greatest(to)))
    return huge && static_cast<uint64_t>(value) <= greatest(to) ? static_cast<uint64_t>(value) : greatest(to);
  return static_cast<uint64_t>(value);
}

double load_float(uint64_t bits, Type type, bool flushes) {
  switch (type) {
    case Type::kF16:
      return half_to_float(static_cast<uint16_t>(bits));
    case Type::kBf16:
      return bfloat_to_float(static_cast<uint16_t>(bits));
    case Type::kF64:
      return std::bit_cast<double>(bits);
    default: {
      const float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
      return flushes ? flush(value) : value;
    }
  }
}

double round_whole(double value, Rounding rounding) {
  switch (rounding) {
    case Rounding::kZero:
      return std::trunc(value);
    case Rounding::kDown:
      return std::floor(value);
    case Rounding::kUp:
      return std::ceil(value);
    default:
      return std::nearbyint(value);
  }
}

// tf32 has the exponent of f32 and 10 bits of mantissa: the low 13 bits of a float go.
float round_to_tf32(double value, Rounding rounding) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  if ((bits & 0x7f800000) == 0x7f800000) return canonical(std::bit_cast<float>(bits));
  const uint32_t half = rounding == Rounding::kNearestAway ? 0x1000
                        : rounding == Rounding::kZero      ? 0
                                                           : 0xfff + (bits >> 13 & 1);
  return std::bit_cast<float>((bits + half) & ~uint32_t{0x1fff});
}

uint64_t store_float(double value, const Op& op) {
  const auto rounding = static_cast<Rounding>(op.extra);
  if (op.extra2 & kSaturates) value = value > 0 ? std::fmin(value, 1.0) : 0.0;
  if ((op.extra2 & kRelu) && value <= 0) value = 0.0;
  switch (to_type(op)) {
    case Type::kF16:
    case Type::kF16x2:
      return narrow<Half>(value, rounding);
    case Type::kBf16:
    case Type::kBf16x2:
      return narrow<Bfloat>(value, rounding);
    case Type::kF64:
      return std::bit_cast<uint64_t>(value);
    case Type::kTf32:
      return std::bit_cast<uint32_t>(round_to_tf32(value, rounding));
    default: {
      const volatile double source = value;
      const HostRounding host(rounding);
      const volatile float narrowed = static_cast<float>(source);
      const float result = canonical(narrowed);
      return std::bit_cast<uint32_t>(op.extra2 & kFlushes ? flush(result) : result);
    }
  }
}

uint64_t float_to_integer(double value, Type from, Type to, Rounding rounding) {
  if (std::isnan(value)) return from == Type::kF64 || size_of(to) == 8 ? uint64_t{1} << (8 * size_of(to) - 1) : 0;
  const double whole = round_whole(value, rounding);
  if (whole <= static_cast<double>(least(to))) return static_cast<uint64_t>(least(to));
  if (whole >= std::ldexp(1.0, 8 * static_cast<int>(size_of(to)) - (is_signed_integer(to) ? 1 : 0)))
    return greatest(to);
  return whole < 0 ? static_cast<uint64_t>(static_cast<int64_t>(whole)) : static_cast<uint64_t>(whole);
}

// Straight from the integer, for a double does not hold every 64-bit one.
uint64_t integer_to_float(int64_t value, Type from, const Op& op) {
  const Type to = to_type(op);
  const volatile int64_t whole = value;
  const HostRounding host(static_cast<Rounding>(op.extra));
  const auto as = [&]<class F>(Tag<F>) -> F {
    const volatile F result =
        is_signed_integer(from) ? static_cast<F>(whole) : static_cast<F>(static_cast<uint64_t>(whole));
    return result;
  };
  if (to == Type::kF64) return std::bit_cast<uint64_t>(as(Tag<double>{}));
  if (to == Type::kF32) return std::bit_cast<uint32_t>(as(Tag<float>{}));
  // A 64-bit integer too long for a double is beyond 2^53, where adding it up from halves rounds to odd.
  const double high = std::ldexp(static_cast<double>(value >> 32), 32), low = static_cast<double>(value & 0xffffffff);
  return store_float(is_signed_integer(from) || value >= 0 ? odd_sum(high, low) : 0x1p63, op);
}

uint64_t convert(uint64_t bits, const Op& op) {
  const Type from = from_type(op), to = to_type(op);
  if (is_integer(from)) {
    const int64_t value = extend(bits, from);
    if (!is_integer(to)) return integer_to_float(value, from, op);
    return static_cast<uint64_t>(
        extend(op.extra2 & kSaturates ? saturate(value, from, to) : static_cast<uint64_t>(value), to));
  }
  const double value = load_float(bits, from, (op.extra2 & kFlushes) != 0);
  if (is_integer(to))
    return static_cast<uint64_t>(extend(float_to_integer(value, from, to, static_cast<Rounding>(op.extra)), to));
  if ((op.extra2 & kToInteger) == 0) return store_float(value, op);
  Op whole = op;
  whole.extra = static_cast<uint8_t>(Rounding::kNearest);
  return store_float(round_whole(value, static_cast<Rounding>(op.extra)), whole);
}

void convert_any(Warp& warp, const Op& op, LaneMask lanes) {
  if (op.wide & 1)
    write<uint64_t>(warp, op, lanes, [&](int lane) { return convert(warp.bits(op, 1, lane), op); });
  else
    write<uint32_t>(warp, op, lanes,
                    [&](int lane) { return static_cast<uint32_t>(convert(warp.bits(op, 1, lane), op)); });
}

// Between integers without saturation: cut and extended.
template <class To, class From>
void convert_integer(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<From> a = read<From>(warp, op, 1);
  const Type from = from_type(op), to = to_type(op);
  const int cut = 64 - 8 * static_cast<int>(size_of(from)), keep = 64 - 8 * static_cast<int>(size_of(to));
  const bool from_signed = is_signed_integer(from), to_signed = is_signed_integer(to);
  write<To>(warp, op, lanes, [&](int lane) {
    const uint64_t shifted = static_cast<uint64_t>(a[lane]) << cut;
    const uint64_t value = from_signed ? static_cast<uint64_t>(static_cast<int64_t>(shifted) >> cut) : shifted >> cut;
    const uint64_t kept = value << keep;
    return static_cast<To>(to_signed ? static_cast<uint64_t>(static_cast<int64_t>(kept) >> keep) : kept >> keep);
  });
}

// The common ones, lane loops without choices inside.
template <class To, class From>
void convert_plain(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<From> a = read<From>(warp, op, 1);
  write<To>(warp, op, lanes, [&](int lane) { return static_cast<To>(a[lane]); });
}

// d = a in the upper half, b in the lower
template <class Format>
void convert_pair(Warp& warp, const Op& op, LaneMask lanes) {
  const Lanes<float> high = read<float>(warp, op, 1), low = read<float>(warp, op, 2);
  if (std::is_same_v<Format, Bfloat> && op.extra == 0 && op.extra2 == 0) {
    write<uint32_t>(warp, op, lanes, [&](int lane) {
      return static_cast<uint32_t>(float_to_bfloat(high[lane])) << 16 | float_to_bfloat(low[lane]);
    });
    return;
  }
  write<uint32_t>(warp, op, lanes, [&](int lane) {
    return static_cast<uint32_t>(store_float(high[lane], op) << 16 | store_float(low[lane], op));
  });
}

Rounding rounding_of(const Instruction& in) {
  if (in.has("rz") || in.has("rzi")) return Rounding::kZero;
  if (in.has("rm") || in.has("rmi")) return Rounding::kDown;
  if (in.has("rp") || in.has("rpi")) return Rounding::kUp;
  return in.has("rna") ? Rounding::kNearestAway : Rounding::kNearest;
}

Handler fast_handler(Type to, Type from) {
  if (to == Type::kF32 && from == Type::kS32) return convert_plain<float, int32_t>;
  if (to == Type::kF32 && from == Type::kU32) return convert_plain<float, uint32_t>;
  if (to == Type::kF64 && from == Type::kF32) return convert_plain<double, float>;
  return nullptr;
}

bool prepare_cvt(const Instruction& in, Op& op) {
  if (in.types.size() != 2) return false;
  const Type to = in.type(0), from = in.type(1);
  const bool whole = in.has("rni") || in.has("rzi") || in.has("rmi") || in.has("rpi");
  op.extra = static_cast<uint8_t>(rounding_of(in));
  op.extra2 = static_cast<uint8_t>((in.has("ftz") ? kFlushes : 0) | (in.has("sat") ? kSaturates : 0) |
                                   (whole ? kToInteger : 0) | (in.has("relu") ? kRelu : 0));
  op.target = static_cast<uint32_t>(to) | static_cast<uint32_t>(from) << 8;
  if (to == Type::kBf16x2 || to == Type::kF16x2) {
    op.run = to == Type::kBf16x2 ? convert_pair<Bfloat> : convert_pair<Half>;
    return from == Type::kF32 && in.operands.size() == 3;
  }
  if (from == Type::kBf16x2 || from == Type::kF16x2 || in.operands.size() != 2) return false;
  op.run = op.extra == 0 && op.extra2 == 0 ? fast_handler(to, from) : nullptr;
  if (op.run == nullptr && is_integer(to) && is_integer(from) && op.extra2 == 0) {
    const bool wide_to = (op.wide & 1) != 0, wide_from = (op.wide & 2) != 0;
    op.run = wide_to ? (wide_from ? convert_integer<uint64_t, uint64_t> : convert_integer<uint64_t, uint32_t>)
                     : (wide_from ? convert_integer<uint32_t, uint64_t> : convert_integer<uint32_t, uint32_t>);
  }
  if (op.run == nullptr) op.run = convert_any;
  return true;
}

constexpr std::array<Family, 1> kFamilies{{{"cvt", prepare_cvt, " rn rz rm rp rna rni rzi rmi rpi ftz sat relu "}}};

}  // namespace

std::span<const Family> convert_families() { return kFamilies; }

}  // namespace annulus::cudasim
