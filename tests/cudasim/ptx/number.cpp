#include "tests/cudasim/ptx/number.h"

#include <cfenv>

namespace annulus::cudasim {

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, exponent = bits >> 10 & 0x1f,
                 mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  const float magnitude = exponent == 0 ? static_cast<float>(mantissa) * 0x1p-24f
                                        : std::bit_cast<float>((exponent + 112) << 23 | mantissa << 13);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}

template <class Format>
uint16_t narrow(double value, Rounding rounding) {
  constexpr int kMantissa = Format::kMantissaBits, kBias = (1 << (Format::kExponentBits - 1)) - 1;
  constexpr uint32_t kInfinity = ((1u << Format::kExponentBits) - 1) << kMantissa;
  if (std::isnan(value)) return 0x7fff;
  const bool negative = std::signbit(value);
  const auto sign = static_cast<uint32_t>(negative ? 0x8000 : 0);
  const double magnitude = std::fabs(value);
  if (std::isinf(value)) return static_cast<uint16_t>(sign | kInfinity);
  if (magnitude == 0) return static_cast<uint16_t>(sign);

  int exponent = std::ilogb(magnitude);
  if (exponent < 1 - kBias) exponent = 1 - kBias;                     // subnormal numbers share the smallest exponent
  const double scaled = std::ldexp(magnitude, kMantissa - exponent);  // in units of the last place: exact
  const double whole = std::floor(scaled), rest = scaled - whole;
  const auto integer = static_cast<uint64_t>(whole > 0x1p60 ? 0x1p60 : whole);
  const bool away = rounding == Rounding::kNearest       ? rest > 0.5 || (rest == 0.5 && (integer & 1) != 0)
                    : rounding == Rounding::kNearestAway ? rest >= 0.5
                    : rounding == Rounding::kUp          ? rest > 0 && !negative
                    : rounding == Rounding::kDown        ? rest > 0 && negative
                                                         : false;
  // The exponent field is added to the integer, whose leading bit carries one more into it.
  const uint64_t bits = integer + (away ? 1 : 0) + (static_cast<uint64_t>(exponent + kBias - 1) << kMantissa);
  if (bits < kInfinity) return static_cast<uint16_t>(sign | bits);
  const bool stays_finite = rounding == Rounding::kZero || (rounding == Rounding::kUp && negative) ||
                            (rounding == Rounding::kDown && !negative);
  return static_cast<uint16_t>(sign | (stays_finite ? kInfinity - 1 : kInfinity));
}
template uint16_t narrow<Half>(double, Rounding);
template uint16_t narrow<Bfloat>(double, Rounding);

double odd_sum(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const double part = sum - a, error = (a - (sum - part)) + (b - part);  // sum + error is exact
  const auto bits = std::bit_cast<uint64_t>(sum);
  if (error == 0 || (bits & 1) != 0) return sum;
  const bool outwards = (error > 0) == (sum > 0);  // the exact sum lies further from zero
  return std::bit_cast<double>(outwards ? bits + 1 : bits - 1);
}

HostRounding::HostRounding(Rounding rounding) : before_(std::fegetround()) {
  std::fesetround(rounding == Rounding::kZero   ? FE_TOWARDZERO
                  : rounding == Rounding::kDown ? FE_DOWNWARD
                  : rounding == Rounding::kUp   ? FE_UPWARD
                                                : FE_TONEAREST);
}

HostRounding::~HostRounding() { std::fesetround(before_); }

}  // namespace annulus::cudasim
