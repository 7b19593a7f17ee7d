#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/cudasim/ptx/module.h"
#include "tests/cudasim/ptx/program.h"

namespace annulus::cudasim {

/// Where a program's registers, constants and variables live.
class Storage {
 public:
  explicit Storage(Program& program);

  /// Place of a register or scratch cell; words per lane as in words_per_lane().
  uint32_t reserve(int words_per_lane);
  uint32_t constant(uint64_t value, int words_per_lane);
  uint32_t special(const std::string& name);
  uint32_t sink() const { return sink_; }
  /// Bytes of each lane's local memory.
  uint32_t local(uint64_t size, uint64_t alignment);
  /// Bytes of shared memory, with a gap before the next variable so that running over the end is noticed.
  uint32_t shared(const Variable& variable);
  uint32_t carry();  // of add.cc and its kin

 private:
  Program& program_;
  uint32_t sink_;
  uint32_t carry_ = 0;
  std::map<std::pair<uint64_t, int>, uint32_t> constants_;
  std::map<std::string, uint32_t> specials_, shared_;
};

/// One function of a program: its registers and variables.
struct FunctionFrame {
  FunctionFrame(const Function& function, Program& program, Storage& storage);

  const Function& function;
  std::vector<uint32_t> registers;             // places
  std::vector<uint32_t> variables;             // offsets within their spaces
  std::map<std::string, uint32_t> parameters;  // offset and results too; of a kernel: within the parameter space
  uint32_t link = 0;                           // where a called function keeps the instruction to return to
  std::vector<uint32_t> pc_of;                 // op of each instruction, and one past the end
};

}  // namespace annulus::cudasim
