#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace annulus::cudasim {

/// The scalar types that PTX instructions name. The b types are bits without a meaning.
enum class Type : uint8_t {
  kPred,
  kB8,
  kU8,
  kS8,
  kB16,
  kU16,
  kS16,
  kF16,
  kBf16,
  kB32,
  kU32,
  kS32,
  kF32,
  kTf32,
  kF16x2,
  kBf16x2,
  kB64,
  kU64,
  kS64,
  kF64
};

/// The type that a modifier such as "s32" names, or nothing for other modifiers.
std::optional<Type> type_named(std::string_view name);
std::string_view name_of(Type type);

/// In memory, in bytes. A predicate has no size.
uint32_t size_of(Type type);
bool is_signed_integer(Type type);
bool is_integer(Type type);  // bits count as unsigned integers

enum class Space : uint8_t { kGeneric, kGlobal, kConst, kShared, kLocal, kParam };

std::string_view name_of(Space space);

}  // namespace annulus::cudasim
