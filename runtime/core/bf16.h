#pragma once
// bfloat16: the upper half of a float. Eight bits of exponent, eight of precision, as tensors hold it in memory and on
// the wire; arithmetic is done in float.
#include <bit>
#include <cstdint>

namespace annulus {

struct Bf16 {
  uint16_t bits;

  /// Rounded to nearest, ties to even; NaN stays NaN, and what is too large becomes infinite.
  [[gnu::always_inline]] static constexpr Bf16 from(float x) {
    const auto b = std::bit_cast<uint32_t>(x);
    if ((b & 0x7FFF'FFFFu) > 0x7F80'0000u) return {static_cast<uint16_t>((b >> 16) | 0x40u)};
    return {static_cast<uint16_t>((b + 0x7FFFu + ((b >> 16) & 1u)) >> 16)};
  }
  [[gnu::always_inline]] constexpr float to_float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

}  // namespace annulus
