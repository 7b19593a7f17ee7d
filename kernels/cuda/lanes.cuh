#pragma once
// What a thread holds of a tensor: a few neighbouring elements, f32 or bf16 in memory, floats in registers. A kernel is
// compiled for kLanes elements at a time, read and written as words of up to 16 bytes, and for one at a time, where
// rows do not begin at such words.
#include <cstdint>

#include "runtime/core/bf16.h"

namespace annulus::cuda {

template <int kLanes>
struct Lanes {
  float of[kLanes];
  __device__ float& operator[](int k) { return of[k]; }
  __device__ float operator[](int k) const { return of[k]; }
};

/// Elements in 16 bytes, for kernels whose tensors are all of T.
template <class T>
constexpr int kLanesOf = 16 / sizeof(T);
/// For kernels that have both f32 and bf16: 16 and 8 bytes. Eight elements would be two words of f32, and each access
/// to them would leave out every other 16 bytes.
constexpr int kLanesOfBoth = 4;

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(Bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }

// Rounded to nearest, ties to even; NaN stays NaN.
__device__ inline void store_one(float* p, float x) { *p = x; }
__device__ inline void store_one(Bf16* p, float x) {
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  p->bits = bits;
}
__device__ inline uint32_t bf16_pair(float first, float second) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}

__device__ inline void unpack(float* to, const uint32_t word, float) { to[0] = __uint_as_float(word); }
__device__ inline void unpack(float* to, const uint32_t word, Bf16) {
  to[0] = __uint_as_float(word << 16);
  to[1] = __uint_as_float(word & 0xffff0000u);
}
__device__ inline uint32_t pack(const float* from, float) { return __float_as_uint(from[0]); }
__device__ inline uint32_t pack(const float* from, Bf16) { return bf16_pair(from[0], from[1]); }

/// kLanes elements from p on, which is a multiple of their bytes or of 16.
template <int kLanes, class T>
__device__ inline Lanes<kLanes> load(const T* p) {
  Lanes<kLanes> x;
  constexpr int kPerWord = 4 / sizeof(T);  // elements in 32 bits
  if constexpr (kLanes == 1) {
    x[0] = to_float(*p);
  } else if constexpr (kLanes * sizeof(T) == 8) {
    const uint2 words = *reinterpret_cast<const uint2*>(p);
    unpack(x.of, words.x, T{});
    unpack(x.of + kPerWord, words.y, T{});
  } else {
    static_assert(kLanes * sizeof(T) % 16 == 0);
#pragma unroll
    for (int k = 0; k < kLanes; k += 4 * kPerWord) {
      const uint4 words = *reinterpret_cast<const uint4*>(p + k);
      unpack(x.of + k, words.x, T{});
      unpack(x.of + k + kPerWord, words.y, T{});
      unpack(x.of + k + 2 * kPerWord, words.z, T{});
      unpack(x.of + k + 3 * kPerWord, words.w, T{});
    }
  }
  return x;
}

// In so many words, for nvcc makes stores of single floats of a uint4 where it loses sight of the pieces' order.
__device__ inline void store_words(void* p, uint32_t a, uint32_t b) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" : : "l"(__cvta_generic_to_global(p)), "r"(a), "r"(b) : "memory");
}
__device__ inline void store_words(void* p, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
               :
               : "l"(__cvta_generic_to_global(p)), "r"(a), "r"(b), "r"(c), "r"(d)
               : "memory");
}

template <int kLanes, class T>
__device__ inline void store(T* p, const Lanes<kLanes>& x) {
  constexpr int kPerWord = 4 / sizeof(T);
  if constexpr (kLanes == 1) {
    store_one(p, x[0]);
  } else if constexpr (kLanes * sizeof(T) == 8) {
    store_words(p, pack(x.of, T{}), pack(x.of + kPerWord, T{}));
  } else {
    static_assert(kLanes * sizeof(T) % 16 == 0);
#pragma unroll
    for (int k = 0; k < kLanes; k += 4 * kPerWord)
      store_words(p + k, pack(x.of + k, T{}), pack(x.of + k + kPerWord, T{}), pack(x.of + k + 2 * kPerWord, T{}),
                  pack(x.of + k + 3 * kPerWord, T{}));
  }
}

/// The first `count` of them, where a run of elements ends; the others are 0, and stay as they are in memory.
template <int kLanes, class T>
__device__ inline Lanes<kLanes> load_first(const T* p, int64_t count) {
  if (count >= kLanes) return load<kLanes>(p);
  Lanes<kLanes> x;
#pragma unroll
  for (int k = 0; k < kLanes; ++k) x[k] = k < count ? to_float(p[k]) : 0.0f;
  return x;
}

template <int kLanes, class T>
__device__ inline void store_first(T* p, const Lanes<kLanes>& x, int64_t count) {
  if (count >= kLanes) return store(p, x);
#pragma unroll
  for (int k = 0; k < kLanes; ++k)
    if (k < count) store_one(p + k, x[k]);
}

}  // namespace annulus::cuda
