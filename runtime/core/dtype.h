#pragma once
// Element types of tensors, in memory and on the wire.
#include <cstdint>
#include <type_traits>

#include "runtime/core/bf16.h"

namespace annulus {

enum class Dtype : uint8_t { kF32, kBf16, kI32, kI64 };

constexpr int64_t size_of(Dtype dtype) { return dtype == Dtype::kI64 ? 8 : dtype == Dtype::kBf16 ? 2 : 4; }

constexpr const char* name_of(Dtype dtype) {
  constexpr const char* kNames[] = {"f32", "bf16", "i32", "i64"};
  return kNames[static_cast<int>(dtype)];
}

template <class T>
constexpr Dtype dtype_of() {
  using Bare = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Bare, float>) return Dtype::kF32;
  if constexpr (std::is_same_v<Bare, Bf16>) return Dtype::kBf16;
  if constexpr (std::is_same_v<Bare, int32_t>) return Dtype::kI32;
  static_assert(std::is_same_v<Bare, float> || std::is_same_v<Bare, Bf16> || std::is_same_v<Bare, int32_t> ||
                std::is_same_v<Bare, int64_t>);
  return Dtype::kI64;
}

}  // namespace annulus
