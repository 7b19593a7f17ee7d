#pragma once

// The integer operations of device.cuh from their descriptions, without a look at the interpreter: by way of wider
// integers, or bit by bit.

#include <bit>
#include <limits>

#include "tests/cudasim/differential/common.h"

namespace differential {

using Wide = __int128;

inline Wide bounded(Wide value, Wide low, Wide high) { return value < low ? low : value > high ? high : value; }
template <class T>
T saturated(Wide value) {
  return static_cast<T>(bounded(value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

// Bit fields. Positions and lengths count modulo 256; beyond the top lies the sign.
template <class T>
T extracted(T a, uint32_t from, uint32_t length) {
  from &= 0xff, length &= 0xff;
  T result = 0;
  for (uint32_t i = 0; i < kWidth<T>; ++i) {
    const uint32_t last = length == 0 ? 0 : from + length - 1 < kWidth<T> ? from + length - 1 : kWidth<T> - 1;
    const bool inside = i < length && from + i < kWidth<T>;
    const bool fill = std::is_signed_v<T> && length > 0 && (a >> last & 1) != 0;
    if (inside ? (a >> (from + i) & 1) != 0 : fill) result = static_cast<T>(result | static_cast<T>(T{1} << i));
  }
  return result;
}
template <class T>
T inserted(T a, T b, uint32_t to, uint32_t length) {
  to &= 0xff, length &= 0xff;
  for (uint32_t i = 0; i < length && to + i < kWidth<T>; ++i) {
    const T bit = T{1} << (to + i);
    b = (a >> i & 1) != 0 ? b | bit : b & ~bit;
  }
  return b;
}
inline uint32_t bmsk_clamp(uint32_t from, uint32_t length) {
  uint32_t result = 0;
  for (uint64_t i = from; i < 32 && i < uint64_t{from} + length; ++i) result |= 1u << i;
  return result;
}
inline uint32_t bmsk_wrap(uint32_t from, uint32_t length) { return bmsk_clamp(from % 32, length % 32); }
template <class T>
uint32_t top_bit(T a) {  // of what differs from the sign
  for (uint32_t i = kWidth<T>; i-- > 0;)
    if ((a >> i & 1) != (a < 0 ? 1 : 0)) return i;
  return ~0u;
}
inline uint32_t bfe_u32(uint32_t a, uint32_t from, uint32_t length) { return extracted(a, from, length); }
inline int32_t bfe_s32(int32_t a, uint32_t from, uint32_t length) { return extracted(a, from, length); }
inline uint64_t bfe_u64(uint64_t a, uint32_t from, uint32_t length) { return extracted(a, from, length); }
inline int64_t bfe_s64(int64_t a, uint32_t from, uint32_t length) { return extracted(a, from, length); }
inline uint32_t bfi_32(uint32_t a, uint32_t b, uint32_t to, uint32_t length) { return inserted(a, b, to, length); }
inline uint64_t bfi_64(uint64_t a, uint64_t b, uint32_t to, uint32_t length) { return inserted(a, b, to, length); }
inline uint32_t bfind_u32(uint32_t a) { return top_bit(a); }
inline uint32_t bfind_s32(int32_t a) { return top_bit(a); }
inline uint32_t bfind_u64(uint64_t a) { return top_bit(a); }
inline uint32_t bfind_s64(int64_t a) { return top_bit(a); }
inline uint32_t bfind_shift_u32(uint32_t a) { return a == 0 ? ~0u : 31 - top_bit(a); }
inline uint32_t bfind_shift_s64(int64_t a) { return top_bit(a) == ~0u ? ~0u : 63 - top_bit(a); }

template <class T>
T high_sum(T a, T b, T c) {
  return add(high_part(a, b), c);
}
inline int32_t mad_hi_s32(int32_t a, int32_t b, int32_t c) { return high_sum(a, b, c); }
inline uint32_t mad_hi_u32(uint32_t a, uint32_t b, uint32_t c) { return high_sum(a, b, c); }
inline int64_t mad_hi_s64(int64_t a, int64_t b, int64_t c) { return high_sum(a, b, c); }
inline uint64_t mad_hi_u64(uint64_t a, uint64_t b, uint64_t c) { return high_sum(a, b, c); }
inline int32_t mad_hi_sat_s32(int32_t a, int32_t b, int32_t c) { return saturated<int32_t>(Wide{high_part(a, b)} + c); }
inline int16_t mad_lo_s16(int16_t a, int16_t b, int16_t c) { return static_cast<int16_t>(Wide{a} * b + c); }
inline int16_t mul_hi_s16(int16_t a, int16_t b) { return static_cast<int16_t>(Wide{a} * b >> 16); }
inline uint16_t mul_hi_u16(uint16_t a, uint16_t b) { return static_cast<uint16_t>(Wide{a} * b >> 16); }
inline int32_t mul_wide_s16(int16_t a, int16_t b) { return static_cast<int32_t>(Wide{a} * b); }
inline uint32_t mul_wide_u16(uint16_t a, uint16_t b) { return static_cast<uint32_t>(Wide{a} * b); }
inline int32_t mad_wide_s16(int16_t a, int16_t b, int32_t c) { return static_cast<int32_t>(Wide{a} * b + c); }
inline uint32_t mad_wide_u16(uint16_t a, uint16_t b, uint32_t c) { return static_cast<uint32_t>(Wide{a} * b + c); }
inline int64_t mad_wide_s32(int32_t a, int32_t b, int64_t c) { return static_cast<int64_t>(Wide{a} * b + c); }
inline uint64_t mad_wide_u32(uint32_t a, uint32_t b, uint64_t c) { return static_cast<uint64_t>(Wide{a} * b + c); }

// Of the low 24 bits; "high" are bits 16 to 47 of the product.
inline Wide low24(int32_t a) { return static_cast<int32_t>(static_cast<uint32_t>(a) << 8) >> 8; }
inline Wide low24(uint32_t a) { return a & 0xffffff; }
inline int32_t mul24(int32_t a, int32_t b) { return static_cast<int32_t>(low24(a) * low24(b)); }
inline uint32_t mul24(uint32_t a, uint32_t b) { return static_cast<uint32_t>(low24(a) * low24(b)); }
inline int32_t mul24_hi_s32(int32_t a, int32_t b) { return static_cast<int32_t>(low24(a) * low24(b) >> 16); }
inline uint32_t mul24_hi_u32(uint32_t a, uint32_t b) { return static_cast<uint32_t>(low24(a) * low24(b) >> 16); }
inline int32_t mad24_lo_s32(int32_t a, int32_t b, int32_t c) { return static_cast<int32_t>(low24(a) * low24(b) + c); }
inline uint32_t mad24_hi_u32(uint32_t a, uint32_t b, uint32_t c) {
  return static_cast<uint32_t>((low24(a) * low24(b) >> 16) + c);
}

inline int32_t add_sat_s32(int32_t a, int32_t b) { return saturated<int32_t>(Wide{a} + b); }
inline int32_t sub_sat_s32(int32_t a, int32_t b) { return saturated<int32_t>(Wide{a} - b); }
template <class T>
T distance_sum(T a, T b, T c) {
  const Wide difference = Wide{a} - b;
  return static_cast<T>((difference < 0 ? -difference : difference) + c);
}
inline int16_t sad_s16(int16_t a, int16_t b, int16_t c) { return distance_sum(a, b, c); }
inline uint64_t sad_u64(uint64_t a, uint64_t b, uint64_t c) { return distance_sum(a, b, c); }
inline int64_t sad_s64(int64_t a, int64_t b, int64_t c) { return distance_sum(a, b, c); }
inline uint32_t sad(int32_t a, int32_t b, uint32_t c) {
  return static_cast<uint32_t>(distance_sum<int32_t>(a, b, static_cast<int32_t>(c)));
}
inline uint32_t sad(uint32_t a, uint32_t b, uint32_t c) { return distance_sum(a, b, c); }
inline uint16_t cnot_16(uint16_t a) { return a == 0; }
inline uint32_t cnot_32(uint32_t a) { return a == 0; }
inline uint64_t cnot_64(uint64_t a) { return a == 0; }
inline uint16_t shl_16(uint16_t a, uint32_t by) { return shift_left_far(a, by); }
inline uint64_t shl_64(uint64_t a, uint32_t by) { return shift_left_far(a, by); }
inline int16_t shr_s16(int16_t a, uint32_t by) { return shift_right_far(a, by); }
inline uint32_t shr_u32(uint32_t a, uint32_t by) { return shift_right_far(a, by); }
inline int64_t shr_s64(int64_t a, uint32_t by) { return shift_right_far(a, by); }

// Bytes 0 to 7 of b:a.
inline uint32_t byte_of(uint32_t a, uint32_t b, uint32_t which) {
  return (which < 4 ? a >> (8 * which) : b >> (8 * which - 32)) & 0xff;
}
inline uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
  uint32_t result = 0;
  for (uint32_t i = 0; i < 4; ++i) result |= byte_of(a, b, selector >> (4 * i) & 7) << (8 * i);
  return result;
}
template <class F>
uint32_t four_bytes(uint32_t a, uint32_t b, F which) {
  uint32_t result = 0;
  for (uint32_t i = 0; i < 4; ++i) result |= byte_of(a, b, which(i)) << (8 * i);
  return result;
}
inline uint32_t prmt_f4e(uint32_t a, uint32_t b, uint32_t c) {
  return four_bytes(a, b, [&](uint32_t i) { return i + (c & 3); });
}
inline uint32_t prmt_b4e(uint32_t a, uint32_t b, uint32_t c) {
  return four_bytes(a, b, [&](uint32_t i) { return ((c & 3) - i) & 7; });
}
inline uint32_t prmt_rc8(uint32_t a, uint32_t b, uint32_t c) {
  return four_bytes(a, b, [&](uint32_t) { return c & 3; });
}
inline uint32_t prmt_ecl(uint32_t a, uint32_t b, uint32_t c) {
  return four_bytes(a, b, [&](uint32_t i) { return greatest(i, c & 3); });
}
inline uint32_t prmt_ecr(uint32_t a, uint32_t b, uint32_t c) {
  return four_bytes(a, b, [&](uint32_t i) { return least(i, c & 3); });
}
inline uint32_t prmt_rc16(uint32_t a, uint32_t b, uint32_t c) {
  return four_bytes(a, b, [&](uint32_t i) { return (i & 1) + 2 * (c & 1); });
}

inline uint32_t all_ones_if(bool yes) { return yes ? ~0u : 0; }
inline uint32_t set_lt_s32(int32_t a, int32_t b) { return all_ones_if(a < b); }
inline uint32_t set_ge_u64(uint64_t a, uint64_t b) { return all_ones_if(a >= b); }
inline float set_gt_f32(float a, float b) { return a > b ? 1.0f : 0.0f; }
inline uint32_t set_leu_f64(double a, double b) { return all_ones_if(!(a > b)); }
inline int32_t set_num_f32(float a, float b) { return a == a && b == b ? -1 : 0; }
inline uint32_t set_equ_f32(float a, float b) { return all_ones_if(a == b || a != a || b != b); }
inline uint32_t set_ne_u16(uint16_t a, uint16_t b) { return all_ones_if(a != b); }
inline uint32_t slct_s32(uint32_t a, uint32_t b, int32_t c) { return c >= 0 ? a : b; }
inline uint64_t slct_f32(uint64_t a, uint64_t b, float c) { return c >= 0 ? a : b; }
inline uint16_t slct_16(uint16_t a, uint16_t b, int32_t c) { return c >= 0 ? a : b; }
inline int32_t saturate_u8_s32(int32_t a) { return saturated<uint8_t>(a); }
inline int32_t saturate_s8_s64(int64_t a) { return saturated<int8_t>(a); }
inline int32_t saturate_s8_u32(uint32_t a) { return saturated<int8_t>(a); }
inline uint16_t saturate_u16_s16(int16_t a) { return saturated<uint16_t>(a); }
inline int16_t saturate_s16_u64(uint64_t a) { return saturated<int16_t>(a); }
inline uint32_t saturate_u32_s64(int64_t a) { return saturated<uint32_t>(a); }
inline int32_t saturate_s32_u32(uint32_t a) { return saturated<int32_t>(a); }
inline int32_t saturate_s32_s64(int64_t a) { return saturated<int32_t>(a); }
inline uint64_t saturate_u64_s64(int64_t a) { return saturated<uint64_t>(a); }
inline int64_t saturate_s64_u64(uint64_t a) { return saturated<int64_t>(a); }
inline uint64_t saturate_u64_s16(int16_t a) { return saturated<uint64_t>(a); }

inline uint32_t low_sum_carry(uint32_t a, uint32_t b, uint32_t c) {
  const uint64_t first = uint64_t{a} + b, second = uint64_t{b} + c + (first >> 32);
  return static_cast<uint32_t>(c + a + (second >> 32));
}
inline uint64_t low_difference_carry(uint64_t a, uint64_t b, uint64_t c) {
  const uint64_t borrow = a < b ? 1 : 0;
  return c - a - (Wide{b} < Wide{c} + borrow ? 1 : 0);
}
inline uint64_t mad_carry(uint64_t a, uint64_t b, uint64_t c) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  const uint64_t low = static_cast<uint64_t>(product);
  return static_cast<uint64_t>(product >> 64) + c + (low + c < low ? 1 : 0);
}
inline uint32_t madc_lo_carry(uint32_t a, uint32_t b, uint32_t c) {
  const uint64_t first = (uint64_t{a} * b >> 32) + c;
  const uint64_t second = uint64_t{static_cast<uint32_t>(static_cast<uint32_t>(first) * c)} + a + (first >> 32);
  return static_cast<uint32_t>(second + b + (second >> 32));
}
template <int kTable>
uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result = 0;
  for (int i = 0; i < 32; ++i) result |= (kTable >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1u) << i;
  return result;
}

template <class T>
T halved_sum(T a, T b, int more) {
  return static_cast<T>((Wide{a} + b + more) >> 1);
}
inline int32_t average(int32_t a, int32_t b) { return halved_sum(a, b, 0); }
inline uint32_t average(uint32_t a, uint32_t b) { return halved_sum(a, b, 0); }
inline int32_t average_up(int32_t a, int32_t b) { return halved_sum(a, b, 1); }
inline uint32_t average_up(uint32_t a, uint32_t b) { return halved_sum(a, b, 1); }
template <class T>
int32_t count_ones(T a) {
  return std::popcount(a);
}
template <class T>
int32_t leading_zeros(T a) {
  return std::countl_zero(a);
}
template <class T>
int32_t first_one(T a) {
  return a == 0 ? 0 : std::countr_zero(a) + 1;
}
template <class T>
T reversed(T a) {
  T result = 0;
  for (uint32_t i = 0; i < kWidth<T>; ++i) result |= (a >> i & 1) << (kWidth<T> - 1 - i);
  return result;
}
inline uint64_t joined(uint32_t low, uint32_t high) { return static_cast<uint64_t>(high) << 32 | low; }
inline uint32_t funnel_left_clamp(uint32_t low, uint32_t high, uint32_t by) {
  return by >= 32 ? low : static_cast<uint32_t>(joined(low, high) << by >> 32);
}
inline uint32_t funnel_right_clamp(uint32_t low, uint32_t high, uint32_t by) {
  return by >= 32 ? high : static_cast<uint32_t>(joined(low, high) >> by);
}
inline uint32_t funnel_left(uint32_t low, uint32_t high, uint32_t by) { return funnel_left_clamp(low, high, by % 32); }
inline uint32_t funnel_right(uint32_t low, uint32_t high, uint32_t by) {
  return funnel_right_clamp(low, high, by % 32);
}

template <class Part>
Wide part_of(uint32_t a, int i) {
  return static_cast<Part>(a >> (i * 8 * static_cast<int>(sizeof(Part))));
}
template <class A, class B, class T>
T dot(T a, T b, T c, int first, int count) {  // of `count` parts A of a, the bytes of b from `first`
  Wide sum = c;
  for (int i = 0; i < count; ++i)
    sum += part_of<A>(static_cast<uint32_t>(a), i) * part_of<B>(static_cast<uint32_t>(b), first + i);
  return static_cast<T>(sum);
}
inline int32_t dot4(int32_t a, int32_t b, int32_t c) { return dot<int8_t, int8_t>(a, b, c, 0, 4); }
inline uint32_t dot4(uint32_t a, uint32_t b, uint32_t c) { return dot<uint8_t, uint8_t>(a, b, c, 0, 4); }
inline int32_t dot2_low(int32_t a, int32_t b, int32_t c) { return dot<int16_t, int8_t>(a, b, c, 0, 2); }
inline uint32_t dot2_low(uint32_t a, uint32_t b, uint32_t c) { return dot<uint16_t, uint8_t>(a, b, c, 0, 2); }
inline int32_t dot2_high(int32_t a, int32_t b, int32_t c) { return dot<int16_t, int8_t>(a, b, c, 2, 2); }
inline uint32_t dot2_high(uint32_t a, uint32_t b, uint32_t c) { return dot<uint16_t, uint8_t>(a, b, c, 2, 2); }
template <class Part, class F>
uint32_t byte_wise(uint32_t a, uint32_t b, F f) {
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i)
    result |= static_cast<uint32_t>(f(part_of<Part>(a, i), part_of<Part>(b, i)) & 0xff) << (8 * i);
  return result;
}
inline uint32_t bytes_sum(uint32_t a, uint32_t b) {
  return byte_wise<uint8_t>(a, b, [](Wide x, Wide y) { return x + y; });
}
inline uint32_t bytes_least(uint32_t a, uint32_t b) {
  return byte_wise<int8_t>(a, b, [](Wide x, Wide y) { return least(x, y); });
}
inline uint32_t bytes_average(uint32_t a, uint32_t b) {
  return byte_wise<uint8_t>(a, b, [](Wide x, Wide y) { return (x + y + 1) / 2; });
}
inline uint32_t bytes_above(uint32_t a, uint32_t b) {
  return byte_wise<int8_t>(a, b, [](Wide x, Wide y) -> Wide { return x > y ? 0xff : 0; });
}
inline uint32_t bytes_distance(uint32_t a, uint32_t b) {
  return byte_wise<uint8_t>(a, b, [](Wide x, Wide y) { return x < y ? y - x : x - y; });
}
inline uint32_t bytes_sum_clamped(uint32_t a, uint32_t b) {
  return byte_wise<int8_t>(a, b, [](Wide x, Wide y) { return bounded(x + y, -128, 127); });
}

}  // namespace differential
