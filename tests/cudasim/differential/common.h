#pragma once

// What programs of the differential test compute with: the same text for the device (nvcc) and for the host (g++), so
// nothing here may be undefined in C++. Operations that only one side has a word for are in device.cuh and, written
// anew from what they mean, in host.h.

#include <cmath>
#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#define DIFFERENTIAL __device__ __forceinline__
#else
#define DIFFERENTIAL inline
#endif

namespace differential {

enum Rounding { kNearest, kZero, kUp, kDown };

/// 16-bit floating point numbers as their bits.
struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};

/// Moved by one access of memory.
template <class T>
struct alignas(2 * sizeof(T)) Pair {
  T x, y;
};
template <class T>
struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) Four {
  T x, y, z, w;
};

/// What one thread begins with. Any integer is the low bits of a whole.
struct alignas(16) Inputs {
  uint64_t whole[8];
  double real[4];
  float single[8];
  Half half[4];
  Bfloat bfloat[4];
};

template <class T>
DIFFERENTIAL T load(const void* from) {
  return *static_cast<const T*>(from);
}

template <class T>
DIFFERENTIAL void put(uint64_t* cells, int i, T value) {
  *reinterpret_cast<T*>(cells + i) = value;
}

// Integers, wrapping as two's complement does. Narrow ones must not be promoted to int and overflow it.
template <class T>
using Wrapping = std::conditional_t<sizeof(T) < 4, uint32_t, std::make_unsigned_t<T>>;
template <class T>
constexpr uint32_t kWidth = 8 * sizeof(T);

template <class T>
DIFFERENTIAL T add(T a, T b) {
  return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
}
template <class T>
DIFFERENTIAL T subtract(T a, T b) {
  return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
}
template <class T>
DIFFERENTIAL T multiply(T a, T b) {
  return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
}
template <class T>
DIFFERENTIAL T negate(T a) {
  return subtract(T{0}, a);
}
template <class T>
DIFFERENTIAL T divide(T a, T b) {
  if (b == 0) return a;
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return negate(a);
  return static_cast<T>(a / b);
}
template <class T>
DIFFERENTIAL T remainder(T a, T b) {
  if (b == 0) return T{7};
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return T{0};
  return static_cast<T>(a % b);
}
template <class T>
DIFFERENTIAL T absolute(T a) {
  return a < 0 ? negate(a) : a;
}
template <class T>
DIFFERENTIAL T least(T a, T b) {
  return a < b ? a : b;
}
template <class T>
DIFFERENTIAL T greatest(T a, T b) {
  return a > b ? a : b;
}
template <class T>
DIFFERENTIAL T distance(T a, T b) {
  return a < b ? subtract(b, a) : subtract(a, b);
}
template <class T>
DIFFERENTIAL T high_part(T a, T b) {
  using Wide = std::conditional_t<std::is_signed_v<T>, std::conditional_t<sizeof(T) == 8, __int128, int64_t>,
                                  std::conditional_t<sizeof(T) == 8, unsigned __int128, uint64_t>>;
  return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b) >> kWidth<T>);
}

template <class T>
DIFFERENTIAL T both(T a, T b) {
  return static_cast<T>(a & b);
}
template <class T>
DIFFERENTIAL T either(T a, T b) {
  return static_cast<T>(a | b);
}
template <class T>
DIFFERENTIAL T differs(T a, T b) {
  return static_cast<T>(a ^ b);
}
template <class T>
DIFFERENTIAL T inverted(T a) {
  return static_cast<T>(~a);
}
template <class T>
DIFFERENTIAL T mixed(T a, T b, T c) {  // three inputs in one instruction
  return static_cast<T>((a & b) ^ (~a & c) ^ (b | c));
}
template <class T>
DIFFERENTIAL T shift_left(T a, uint32_t by) {
  return static_cast<T>(static_cast<Wrapping<T>>(a) << (by & (kWidth<T> - 1)));
}
template <class T>
DIFFERENTIAL T shift_right(T a, uint32_t by) {
  return static_cast<T>(a >> (by & (kWidth<T> - 1)));
}
template <class T>
DIFFERENTIAL T shift_left_far(T a, uint32_t by) {
  return by < kWidth<T> ? shift_left(a, by) : T{0};
}
template <class T>
DIFFERENTIAL T shift_right_far(T a, uint32_t by) {
  return by < kWidth<T> ? shift_right(a, by) : a < 0 ? static_cast<T>(-1) : T{0};
}
template <class T>
DIFFERENTIAL T rotate(T a, uint32_t by) {
  using U = std::make_unsigned_t<T>;
  const U bits = static_cast<U>(a);
  by &= kWidth<T> - 1;
  return static_cast<T>(static_cast<U>(bits << by) | static_cast<U>(bits >> ((kWidth<T> - by) & (kWidth<T> - 1))));
}
template <class T>
DIFFERENTIAL T field(T a, uint32_t from, uint32_t length) {
  const T down = shift_right(a, from);
  return both(down, static_cast<T>((uint64_t{1} << (length & (kWidth<T> - 1))) - 1));
}
template <class T>
DIFFERENTIAL T sign_extended(T a, uint32_t bits) {  // the low bits as a signed number
  const uint32_t rest = (kWidth<T> - bits) & (kWidth<T> - 1);
  return static_cast<T>(static_cast<std::make_signed_t<T>>(shift_left(a, rest)) >> rest);
}
template <class To, class From>
DIFFERENTIAL To clamped(From a) {  // both signed or both unsigned, To narrower
  constexpr From kMost =
      static_cast<From>(static_cast<std::make_unsigned_t<To>>(~To{0}) >> (std::is_signed_v<To> ? 1 : 0));
  constexpr From kLeast = std::is_signed_v<To> ? static_cast<From>(-kMost - 1) : From{0};
  return static_cast<To>(a < kLeast ? kLeast : a > kMost ? kMost : a);
}
DIFFERENTIAL uint64_t sum_of_128(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {  // upper half of b:a + d:c
  const unsigned __int128 one = static_cast<unsigned __int128>(b) << 64 | a;
  const unsigned __int128 other = static_cast<unsigned __int128>(d) << 64 | c;
  return static_cast<uint64_t>((one + other) >> 64);
}
DIFFERENTIAL uint64_t difference_of_128(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  const unsigned __int128 one = static_cast<unsigned __int128>(b) << 64 | a;
  const unsigned __int128 other = static_cast<unsigned __int128>(d) << 64 | c;
  return static_cast<uint64_t>((one - other) >> 64);
}
DIFFERENTIAL uint64_t product_of_128(uint64_t a, uint64_t b, uint64_t c) {
  const unsigned __int128 wide = static_cast<unsigned __int128>(b) << 64 | a;
  return static_cast<uint64_t>((wide * c) >> 64);
}
DIFFERENTIAL uint64_t shifted_128(uint64_t a, uint64_t b, uint32_t by) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(b) << 64 | a) >> (by & 127));
}

// Floating point. A NaN's bits are nobody's promise, nor is its sign: neither may decide anything.
template <class F>
DIFFERENTIAL bool negative(F a) {
  return a == a && std::signbit(a);
}
template <class F>
DIFFERENTIAL F with_sign(F a, F b) {
  return b != b ? std::fabs(a) : std::copysign(a, b);
}
template <class F>
DIFFERENTIAL F positive_difference(F a, F b) {
  return a > b ? a - b : F{0};
}
template <class To, class F>
DIFFERENTIAL To in_range(F a) {  // C++ defines the conversion only there
  const F limit = static_cast<F>(uint64_t{1} << (kWidth<To> - (std::is_signed_v<To> ? 2 : 1))) * 2;
  const bool fits = a < limit && (std::is_signed_v<To> ? a >= -limit : a > F{-1});
  return fits ? static_cast<To>(a) : To{3};
}

}  // namespace differential
