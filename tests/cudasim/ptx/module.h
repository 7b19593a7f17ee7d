#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cudasim/ptx/types.h"

namespace annulus::cudasim {

/// A place in the CUDA source that -lineinfo recorded; line 0: none.
struct SourceLine {
  int file = 0;  // key of Module::files
  int line = 0;
};

struct Operand {
  enum class Kind : uint8_t {
    kRegister,
    kSpecial,    // %tid.x and the like; `name`
    kImmediate,  // `value`
    kSymbol,     // a variable or function of the module; `name`, plus `value`
    kVariable,   // a variable of this function: `index`, plus `value`
    kLabel,      // the instruction `index`
    kVector,     // `parts`
    kSink        // "_", a result that nobody wants
  };
  Kind kind = Kind::kSink;
  bool address = false;   // stood in brackets: memory at this place
  bool negated = false;   // !p
  bool floating = false;  // an immediate that was written as a floating point number
  int index = 0;
  int second = -1;     // the register q of p|q
  uint64_t value = 0;  // an immediate's bits (32 of a 0f number), or what is added to an address
  std::string name;
  std::vector<Operand> parts;
};

inline constexpr uint32_t kAllBytes = 0xffffffff;

struct Instruction {
  std::string opcode;                  // "ld"
  std::vector<std::string> modifiers;  // "global" "v4" "f32"
  std::vector<Type> types;             // those of the modifiers that are types
  std::vector<Operand> operands;
  int guard = -1;  // the predicate register of @p
  bool guard_negated = false;
  int line = 0;  // of the PTX text
  SourceLine source;
  uint32_t used_bytes = kAllBytes;  // of what a load fetches

  bool has(std::string_view modifier) const;
  Type type(size_t i = 0) const;  // kB32 where the instruction names fewer types
  std::string text() const;       // "ld.global.v4.f32"
};

struct Variable {
  std::string name;
  Space space = Space::kGlobal;
  Type type = Type::kB8;
  uint64_t alignment = 1;
  uint64_t size = 0;           // bytes; 0: an extern array, whose size the launch gives
  bool defined = true;         // false: extern
  std::vector<uint8_t> bytes;  // the initial value; shorter than size: the rest is zero
  struct Pointer {
    uint64_t offset;
    std::string symbol;
    uint64_t addend;
  };
  std::vector<Pointer> pointers;  // 64-bit addresses within the initial value
};

struct Function {
  std::string name;
  bool entry = false;    // a kernel
  bool defined = false;  // has a body
  std::vector<Variable> parameters, results, variables;
  std::vector<Type> registers;
  std::vector<Instruction> code;
  std::vector<std::vector<int>> branch_tables;  // instruction indices, for brx.idx
  uint32_t max_threads = 0;                     // of .maxntid or .reqntid; 0: not stated
};

/// What a PTX text says, names resolved as far as one function reaches.
struct Module {
  std::vector<Variable> variables;
  std::map<std::string, Function> functions;
  std::map<int, std::string> files;
};

/// Throws PtxError, which names the line.
Module parse_ptx(std::string_view text);

}  // namespace annulus::cudasim
