#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/cudasim/ptx/module.h"

namespace annulus::cudasim {

class Warp;
struct Op;
using LaneMask = uint32_t;  // bit l: lane l
inline constexpr LaneMask kAllLanes = 0xffffffff;
inline constexpr int kLanes = 32;

/// Does the work of one instruction for the lanes of the mask, never 0.
using Handler = void (*)(Warp& warp, const Op& op, LaneMask lanes);

/// What an instruction does to the way its warp goes.
enum class Control : uint8_t {
  kPlain,         // on to the next
  kBranch,        // to `target`
  kTableBranch,   // to entry slots[0] of branch table `target`
  kCall,          // to `target`, returning to the next; slots[0] is the link register
  kReturn,        // to slots[0]
  kExit,          // the lanes end
  kSync,          // together with the lanes of the member mask in slots[extra]
  kWholeWarp,     // together with all lanes of the warp
  kWarpBarrier,   // bar.warp.sync, member mask in slots[0]
  kBlockBarrier,  // bar.sync and its kin
};

/// What an access or a fence promises to other threads, as bits. Two strong accesses do not race with one another.
enum Order : uint8_t { kStrong = 1, kAcquire = 2, kRelease = 4, kBlockScope = 8 };

/// An instruction, ready to run. Its operands are places in the warp's register file, counted in 32-bit words: a 32-bit
/// register is 32 words (one per lane), a 64-bit register 64, a predicate one word (one bit per lane). Constants and
/// special registers are such places too. What a run needs comes first, within one line of the host's cache.
struct alignas(64) Op {
  Handler run = nullptr;
  const uint32_t* slots = nullptr;
  uint32_t guard = 0;       // a predicate; place 0 is always true
  uint32_t guard_flip = 0;  // all ones for @!p
  Control control = Control::kPlain;
  Space space = Space::kGeneric;
  uint8_t extra = 0;  // small facts, with a meaning of their own for each handler
  uint8_t extra2 = 0;
  uint8_t order = 0;     // bits of Order
  uint32_t wide = 0;     // bit i: operand i has 64 bits per lane
  uint32_t negated = 0;  // bit i: operand i is a negated predicate
  uint32_t target = 0;
  uint32_t operand_count = 0;
  int64_t offset = 0;         // of the address operand
  int64_t second_offset = 0;  // of the second one, of cp.async
  int line = 0;               // of the PTX; 0 for what the decoder added
  SourceLine source;
  std::string text;
};

/// Lanes' own memory (a call's parameters) to copy, in bytes of local memory.
struct LocalCopy {
  uint32_t from, to, bytes;
};

/// A kernel and the functions it calls, ready to run on the device whose addresses it names.
struct Program {
  struct Constant {
    uint32_t slot;
    uint32_t words;  // per lane: 1 or 2; 0: a predicate
    uint64_t value;
  };
  struct Parameter {
    uint32_t offset, size;
  };
  struct SharedVariable {
    std::string name;
    uint32_t offset, size;
  };
  std::string kernel;
  std::vector<Op> code;
  std::vector<uint32_t> operands;
  std::vector<Constant> constants;
  std::vector<std::pair<std::string, uint32_t>> specials;  // "%tid.x" and its slot
  std::vector<std::vector<uint32_t>> branch_tables;
  std::vector<std::vector<LocalCopy>> copies;
  std::vector<Parameter> parameters;
  std::vector<SharedVariable> shared;
  std::map<int, std::string> files;
  uint32_t file_words = 1;   // of a warp's register file
  uint32_t local_bytes = 0;  // per lane
  uint32_t parameter_bytes = 0;
  uint32_t shared_bytes = 0;  // static, with the gaps between variables; dynamic memory begins there
  std::string dynamic_name;   // of the extern shared array
  uint32_t max_threads = 0;   // 0: not stated

  /// "kernel.cu:12", or empty.
  std::string source_of(const Op& op) const;
};

}  // namespace annulus::cudasim
