#pragma once

// The floating point operations of device.cuh on the host: f32 and f64 in the processor's own rounding modes, 16-bit
// numbers by a search for the neighbours of the exact value.

#include <bit>
#include <cfenv>
#include <limits>

#include "tests/cudasim/differential/common.h"

namespace differential {

inline uint32_t bits_of(float a) { return a != a ? 0x7fffffff : std::bit_cast<uint32_t>(a); }
inline uint64_t bits_of(double a) { return a != a ? ~0ull >> 1 : std::bit_cast<uint64_t>(a); }
inline uint16_t bits_of(Half a) { return (a.bits & 0x7fff) > 0x7c00 ? 0x7fff : a.bits; }
inline uint16_t bits_of(Bfloat a) { return (a.bits & 0x7fff) > 0x7f80 ? 0x7fff : a.bits; }
inline float float_of(uint32_t bits) { return std::bit_cast<float>(bits); }
inline double double_of(uint64_t bits) { return std::bit_cast<double>(bits); }

template <class F>
F smaller(F a, F b) {  // -0 is less than 0; NaN is less than nothing and more than nothing
  if (a != a || b != b) return a != a ? b : a;
  return a < b || (a == b && std::signbit(a)) ? a : b;
}
template <class F>
F larger(F a, F b) {
  if (a != a || b != b) return a != a ? b : a;
  return a > b || (a == b && std::signbit(b)) ? a : b;
}
inline float fraction(float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; }

inline float unsubnormal(float a) { return std::fpclassify(a) == FP_SUBNORMAL ? std::copysign(0.0f, a) : a; }
inline float add_ftz(float a, float b) { return unsubnormal(unsubnormal(a) + unsubnormal(b)); }
inline float sub_ftz_sat(float a, float b) { return fraction(unsubnormal(unsubnormal(a) - unsubnormal(b))); }
inline float mul_ftz(float a, float b) { return unsubnormal(unsubnormal(a) * unsubnormal(b)); }
inline float fma_ftz(float a, float b, float c) {
  return unsubnormal(std::fma(unsubnormal(a), unsubnormal(b), unsubnormal(c)));
}
inline float fma_sat(float a, float b, float c) { return fraction(std::fma(a, b, c)); }
inline float mul_sat(float a, float b) { return fraction(a * b); }
inline float div_ftz(float a, float b) { return unsubnormal(unsubnormal(a) / unsubnormal(b)); }
inline float sqrt_ftz(float a) { return std::sqrt(unsubnormal(a)); }
inline float rcp_ftz(float a) { return unsubnormal(1.0f / unsubnormal(a)); }
inline float min_ftz(float a, float b) { return smaller(unsubnormal(a), unsubnormal(b)); }
inline float max_nan(float a, float b) { return a != a || b != b ? NAN : larger(a, b); }
inline float min_nan(float a, float b) { return a != a || b != b ? NAN : smaller(a, b); }
inline float neg_ftz(float a) { return -unsubnormal(a); }
inline float abs_ftz(float a) { return std::fabs(unsubnormal(a)); }
inline uint32_t less_ftz(float a, float b) { return unsubnormal(a) < unsubnormal(b); }
inline uint32_t test_finite(float a) { return std::isfinite(a); }
inline uint32_t test_normal(double a) { return std::isnormal(a); }
inline uint32_t test_subnormal(float a) { return std::fpclassify(a) == FP_SUBNORMAL; }
inline uint32_t test_nan(double a) { return std::isnan(a); }
inline float narrow_ftz(double a) { return unsubnormal(static_cast<float>(a)); }
inline float narrow_sat(double a) { return fraction(static_cast<float>(a)); }
inline float round_sat(float a) { return fraction(std::nearbyint(a)); }
inline float float_of_byte(uint32_t a) { return static_cast<float>(a & 0xff); }
inline double double_of_short(int16_t a) { return a; }

// The exact value high + low, where |low| is less than half of the last place of high.
struct Exact {
  double high, low;
};
inline Exact exact_sum(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return {sum, 0};
  const double part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

template <class To>
To whole_part(double value, Rounding rounding) {
  const double whole = rounding == kNearest ? std::nearbyint(value)
                       : rounding == kZero  ? std::trunc(value)
                       : rounding == kUp    ? std::ceil(value)
                                            : std::floor(value);
  const double limit = std::ldexp(1.0, static_cast<int>(kWidth<To>) - (std::is_signed_v<To> ? 1 : 0));
  if (whole >= limit) return std::numeric_limits<To>::max();
  if (whole < (std::is_signed_v<To> ? -limit : 0.0)) return std::numeric_limits<To>::min();
  return static_cast<To>(whole);
}
// NaN becomes 0, or the top bit alone where the source is a double or the result has 64 bits.
template <class To, class From>
To integer_of(From value, Rounding rounding) {
  if (value == value) return whole_part<To>(static_cast<double>(value), rounding);
  const bool top = sizeof(From) == 8 || sizeof(To) == 8;
  return top ? static_cast<To>(std::make_unsigned_t<To>{1} << (kWidth<To> - 1)) : To{0};
}
inline int32_t whole_ftz(float a) { return integer_of<int32_t>(unsubnormal(a), kUp); }
inline uint32_t byte_of_float(float a) { return integer_of<uint8_t>(a, kNearest); }
inline int32_t signed_byte_of_double(double a) { return integer_of<int8_t>(a, kZero); }
inline int16_t short_of_float(float a) { return integer_of<int16_t>(a, kDown); }
inline uint16_t short_of_double(double a) { return integer_of<uint16_t>(a, kNearest); }

// A long double holds every 64-bit integer and every double.
template <class F, class From>
F rounded(From from, Rounding rounding) {
  const long double exact = from;
  const F nearest = static_cast<F>(exact);
  if (rounding == kNearest || exact != exact || std::isinf(exact)) return nearest;
  const bool too_high = static_cast<long double>(nearest) > exact, too_low = static_cast<long double>(nearest) < exact;
  const bool down = rounding == kDown || (rounding == kZero && exact > 0);
  if (too_high && down) return std::nextafter(nearest, -std::numeric_limits<F>::infinity());
  if (too_low && !down) return std::nextafter(nearest, std::numeric_limits<F>::infinity());
  return nearest;
}

template <class S>
constexpr int kMantissa = std::is_same_v<S, Half> ? 10 : 7;
template <class S>
constexpr int kBias = std::is_same_v<S, Half> ? 15 : 127;
template <class S>
constexpr uint16_t kInfinite = static_cast<uint16_t>(0x7fff >> kMantissa<S> << kMantissa<S>);

// Infinity counts as the power of two that would follow the largest number.
template <class S>
double magnitude_of(uint16_t bits) {
  const int exponent = bits >> kMantissa<S>, mantissa = bits & ((1 << kMantissa<S>)-1),
            least = 1 - kBias<S> - kMantissa<S>;
  return exponent == 0 ? std::ldexp(mantissa, least) : std::ldexp(mantissa + (1 << kMantissa<S>), exponent - 1 + least);
}
template <class S>
double value_of(S small) {
  const uint16_t bits = small.bits & 0x7fff;
  const double magnitude = bits > kInfinite<S> ? NAN : bits == kInfinite<S> ? INFINITY : magnitude_of<S>(bits);
  return small.bits >> 15 != 0 ? -magnitude : magnitude;
}

template <class S>
S small_of(Exact exact, Rounding rounding = kNearest) {
  if (exact.high != exact.high) return {0x7fff};
  const bool negative = std::signbit(exact.high);
  const auto sign = static_cast<uint16_t>(negative ? 0x8000 : 0);
  if (std::isinf(exact.high)) return {static_cast<uint16_t>(sign | kInfinite<S>)};
  const auto above = [&](double limit) {  // how the magnitude compares
    const double difference = (std::fabs(exact.high) - limit) + (negative ? -exact.low : exact.low);
    return difference > 0 ? 1 : difference < 0 ? -1 : 0;
  };
  uint16_t below = 0, beyond = kInfinite<S>;  // the magnitude lies between these two
  if (above(magnitude_of<S>(beyond)) >= 0) below = static_cast<uint16_t>(beyond - 1);
  while (beyond - below > 1) {
    const auto middle = static_cast<uint16_t>((below + beyond) / 2);
    (above(magnitude_of<S>(middle)) >= 0 ? below : beyond) = middle;
  }
  if (above(magnitude_of<S>(below)) == 0) return {static_cast<uint16_t>(sign | below)};
  const int half = above((magnitude_of<S>(below) + magnitude_of<S>(beyond)) / 2);
  const bool away = rounding == kNearest ? half > 0 || (half == 0 && (below & 1) != 0)
                    : rounding == kZero  ? false
                                         : (rounding == kUp) != negative;
  return {static_cast<uint16_t>(sign | (away ? beyond : below))};
}
template <class S>
S small_of(double value) {
  return small_of<S>(Exact{value, 0});
}
template <class S, class From>
S small_of_integer(From value, Rounding rounding) {
  const __int128 whole = value;
  const auto high = static_cast<double>(static_cast<int64_t>(whole >> 32)),
             low = static_cast<double>(whole & 0xffffffff);
  return small_of<S>(exact_sum(std::ldexp(high, 32), low), rounding);
}

/// Sets the processor's rounding. volatile keeps the compiler from computing elsewhere.
class Mode {
 public:
  explicit Mode(Rounding rounding) {
    std::fesetround(rounding == kZero   ? FE_TOWARDZERO
                    : rounding == kUp   ? FE_UPWARD
                    : rounding == kDown ? FE_DOWNWARD
                                        : FE_TONEAREST);
  }
  ~Mode() { std::fesetround(FE_TONEAREST); }
};
template <class F, class Operation>
[[gnu::noinline]] F in_mode(Rounding rounding, F a, F b, F c, Operation operation) {
  volatile F x = a, y = b, z = c;
  const Mode mode(rounding);
  volatile F result = operation(x, y, z);
  return result;
}

template <Rounding R>
struct Directed {
  template <class F>
  static F add(F a, F b) {
    return in_mode(R, a, b, a, [](F x, F y, F) { return x + y; });
  }
  template <class F>
  static F sub(F a, F b) {
    return in_mode(R, a, b, a, [](F x, F y, F) { return x - y; });
  }
  template <class F>
  static F mul(F a, F b) {
    return in_mode(R, a, b, a, [](F x, F y, F) { return x * y; });
  }
  template <class F>
  static F div(F a, F b) {
    return in_mode(R, a, b, a, [](F x, F y, F) { return x / y; });
  }
  template <class F>
  static F fma(F a, F b, F c) {
    return in_mode(R, a, b, c, [](F x, F y, F z) { return std::fma(x, y, z); });
  }
  template <class F>
  static F sqrt(F a) {
    return in_mode(R, a, a, a, [](F x, F, F) { return std::sqrt(x); });
  }
  template <class F>
  static F rcp(F a) {
    return div(F{1}, a);
  }
  template <class From>
  static float to_float(From a) {
    return rounded<float>(a, R);
  }
  template <class From>
  static double to_double(From a) {
    return rounded<double>(a, R);
  }
  template <class From>
  static int32_t to_s32(From a) {
    return integer_of<int32_t>(number(a), R);
  }
  template <class From>
  static uint32_t to_u32(From a) {
    return integer_of<uint32_t>(number(a), R);
  }
  template <class From>
  static int64_t to_s64(From a) {
    return integer_of<int64_t>(number(a), R);
  }
  template <class From>
  static uint64_t to_u64(From a) {
    return integer_of<uint64_t>(number(a), R);
  }
  static int16_t to_s16(Half a) { return integer_of<int16_t>(number(a), R); }
  static Half to_half(float a) { return small_of<Half>(Exact{a, 0}, R); }
  static Bfloat to_bfloat(float a) { return small_of<Bfloat>(Exact{a, 0}, R); }
  template <class From>
  static Half to_half(From a) {
    return small_of_integer<Half>(a, R);
  }
  template <class From>
  static Bfloat to_bfloat(From a) {
    return small_of_integer<Bfloat>(a, R);
  }

 private:
  static float number(Half a) { return static_cast<float>(value_of(a)); }
  static float number(Bfloat a) { return static_cast<float>(value_of(a)); }
  static float number(float a) { return a; }
  static double number(double a) { return a; }
};

template <class S>
float widened(S a) {
  return static_cast<float>(value_of(a));
}
inline Half half_of(double a) { return small_of<Half>(a); }
inline Bfloat bfloat_of(double a) { return small_of<Bfloat>(a); }
template <class S>
S small_add(S a, S b) {
  return small_of<S>(exact_sum(value_of(a), value_of(b)));
}
template <class S>
S small_sub(S a, S b) {
  return small_of<S>(exact_sum(value_of(a), -value_of(b)));
}
template <class S>
S small_mul(S a, S b) {
  return small_of<S>(value_of(a) * value_of(b));
}
template <class S>
S small_fma(S a, S b, S c) {  // the product is exact in double
  return small_of<S>(exact_sum(value_of(a) * value_of(b), value_of(c)));
}
template <class S>
S small_fma_relu(S a, S b, S c) {
  const S result = small_fma(a, b, c);
  return value_of(result) <= 0 ? S{0} : result;
}
template <class S>
S small_smaller(S a, S b) {
  return small_of<S>(smaller(value_of(a), value_of(b)));
}
template <class S>
S small_larger_nan(S a, S b) {
  const double x = value_of(a), y = value_of(b);
  return small_of<S>(x != x || y != y ? NAN : larger(x, y));
}
template <class S>
S small_negated(S a) {
  return small_of<S>(-value_of(a));
}
template <class S>
S small_absolute(S a) {
  return small_of<S>(std::fabs(value_of(a)));
}
template <class S>
bool small_less(S a, S b) {
  return value_of(a) < value_of(b);
}
template <class S>
bool small_equal_or_nan(S a, S b) {
  return !(value_of(a) < value_of(b) || value_of(a) > value_of(b));
}
inline Half small_fraction(Half a) { return value_of(a) > 0 ? half_of(value_of(a) < 1 ? value_of(a) : 1.0) : Half{0}; }
inline Half small_add_sat(Half a, Half b) { return small_fraction(small_add(a, b)); }
inline Half small_fma_sat(Half a, Half b, Half c) { return small_fraction(small_fma(a, b, c)); }
inline Half small_floor(Half a) { return half_of(std::floor(value_of(a))); }
inline Half small_rint(Half a) { return half_of(std::nearbyint(value_of(a))); }
template <class S>
S pair_fma(S a, S b, S c) {
  return small_add(small_fma(a, b, c), small_fma(b, c, a));
}
template <class S>
uint32_t pair_of(S, float a, float b) {
  return static_cast<uint32_t>(small_of<S>(b).bits) << 16 | small_of<S>(a).bits;
}

}  // namespace differential
