#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cudasim/ptx/module.h"
#include "tests/cudasim/ptx/token_reader.h"

namespace annulus::cudasim {

/// Reads a function's body, from "{" past its "}". Braces inside (inline assembly, call sequences) open scopes of
/// registers, variables and labels.
class BodyParser {
 public:
  BodyParser(TokenReader& in, Function& function) : in_(in), function_(function) {}
  void run();

 private:
  struct Use {  // of a name that may be a label further down
    std::string name;
    size_t instruction;
    size_t operand;
  };
  struct Table {  // of brx.idx
    std::string name;
    std::vector<std::string> targets;
    size_t index;
  };
  struct RegisterRange {
    int first, count;
  };
  struct Scope {
    std::map<std::string, int, std::less<>> registers, variables, labels, tables;
    std::map<std::string, RegisterRange, std::less<>> ranges;  // %r<12>
    std::vector<Use> uses;
    std::vector<Table> pending_tables;
  };

  void open_scope() { scopes_.emplace_back(); }
  void close_scope();
  void statement();
  void directive();
  void declare_registers();
  void declare_variables();
  void location();
  void pragma();
  void label();
  void instruction();
  Operand operand(const std::string& opcode);
  Operand plain_operand(const std::string& opcode);
  Operand number();
  Operand named(const std::string& name, bool call);
  void add_offset(Operand& operand);
  int find_register(std::string_view name) const;  // -1: none of that name

  TokenReader& in_;
  Function& function_;
  std::vector<Scope> scopes_;
  SourceLine source_;
  uint32_t used_bytes_ = kAllBytes;  // by the next instruction
};

}  // namespace annulus::cudasim
