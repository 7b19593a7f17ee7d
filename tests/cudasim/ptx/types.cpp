#include "tests/cudasim/ptx/types.h"

#include <array>

namespace annulus::cudasim {
namespace {

struct Row {
  std::string_view name;
  uint32_t size;
};

// In the order of the enumeration.
constexpr std::array<Row, 20> kTypes{{{"pred", 0},   {"b8", 1},  {"u8", 1},  {"s8", 1},   {"b16", 2},
                                      {"u16", 2},    {"s16", 2}, {"f16", 2}, {"bf16", 2}, {"b32", 4},
                                      {"u32", 4},    {"s32", 4}, {"f32", 4}, {"tf32", 4}, {"f16x2", 4},
                                      {"bf16x2", 4}, {"b64", 8}, {"u64", 8}, {"s64", 8},  {"f64", 8}}};

}  // namespace

std::optional<Type> type_named(std::string_view name) {
  for (size_t i = 0; i < kTypes.size(); ++i)
    if (kTypes[i].name == name) return static_cast<Type>(i);
  return std::nullopt;
}

std::string_view name_of(Type type) { return kTypes[static_cast<size_t>(type)].name; }

uint32_t size_of(Type type) { return kTypes[static_cast<size_t>(type)].size; }

bool is_signed_integer(Type type) {
  return type == Type::kS8 || type == Type::kS16 || type == Type::kS32 || type == Type::kS64;
}

bool is_integer(Type type) {
  switch (type) {
    case Type::kPred:
    case Type::kF16:
    case Type::kBf16:
    case Type::kF32:
    case Type::kTf32:
    case Type::kF16x2:
    case Type::kBf16x2:
    case Type::kF64:
      return false;
    default:
      return true;
  }
}

std::string_view name_of(Space space) {
  constexpr std::string_view kNames[] = {"generic", "global", "const", "shared", "local", "param"};
  return kNames[static_cast<size_t>(space)];
}

}  // namespace annulus::cudasim
