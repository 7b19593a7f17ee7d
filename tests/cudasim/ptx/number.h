#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace annulus::cudasim {

enum class Rounding : uint8_t { kNearest, kZero, kDown, kUp, kNearestAway };

/// The 16-bit formats as their bits. Every value of theirs is a float.
struct Half {
  static constexpr int kExponentBits = 5, kMantissaBits = 10;
};
struct Bfloat {
  static constexpr int kExponentBits = 8, kMantissaBits = 7;
};

float half_to_float(uint16_t bits);
inline float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

template <class Format>
float widen(uint16_t bits);
template <>
inline float widen<Half>(uint16_t bits) {
  return half_to_float(bits);
}
template <>
inline float widen<Bfloat>(uint16_t bits) {
  return bfloat_to_float(bits);
}

/// Rounds once. A result that is itself the rounding of something longer must have been rounded to odd, as the sums
/// below are, or it would be rounded twice. NaN becomes 0x7fff, as on the device.
template <class Format>
uint16_t narrow(double value, Rounding rounding = Rounding::kNearest);
extern template uint16_t narrow<Half>(double, Rounding);
extern template uint16_t narrow<Bfloat>(double, Rounding);

/// The same as narrow<Bfloat> for a float, to the nearest, fast.
inline uint16_t float_to_bfloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : rounded);
}

/// a + b rounded to odd: the last bit is set where the sum is not exact, so that a second rounding to fewer than 52
/// bits comes out as if it were the first.
double odd_sum(double a, double b);

/// The device's only NaN in float results.
inline constexpr uint32_t kFloatNan = 0x7fffffff;
inline float canonical(float value) { return value != value ? std::bit_cast<float>(kFloatNan) : value; }

/// Subnormal numbers become zero, the sign stays.
inline float flush(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
}

/// Sets the host's rounding for its lifetime. Operands and results must be volatile, or the compiler moves the
/// arithmetic out of it.
class HostRounding {
 public:
  explicit HostRounding(Rounding rounding);
  ~HostRounding();
  HostRounding(const HostRounding&) = delete;
  HostRounding& operator=(const HostRounding&) = delete;

 private:
  int before_;
};

}  // namespace annulus::cudasim
