#pragma once

#include <span>
#include <string_view>

#include "tests/cudasim/ptx/program.h"

namespace annulus::cudasim {

/// Instructions of one opcode. `prepare` fills in the handler and the facts it needs, or returns false for a form that
/// it does not know. `modifiers` lists, between blanks, the modifiers that it understands apart from types; any other
/// is an error, for a modifier without effect would be a wrong result.
struct Family {
  std::string_view opcode;
  bool (*prepare)(const Instruction& instruction, Op& op);
  std::string_view modifiers;
};

std::span<const Family> integer_families();
std::span<const Family> bit_families();
std::span<const Family> float_families();
std::span<const Family> half_families();  // asked before the others: f16 and bf16 of the same opcodes
std::span<const Family> compare_families();
std::span<const Family> move_families();
std::span<const Family> convert_families();
std::span<const Family> memory_families();
std::span<const Family> atomic_families();
std::span<const Family> async_families();
std::span<const Family> warp_families();
std::span<const Family> matrix_families();
std::span<const Family> flow_families();

}  // namespace annulus::cudasim
