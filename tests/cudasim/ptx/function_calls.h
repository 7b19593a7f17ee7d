#pragma once

#include <set>
#include <string>
#include <vector>

#include "tests/cudasim/ptx/module.h"
#include "tests/cudasim/ptx/program.h"

namespace annulus::cudasim {

/// The parts of "call (results), callee, (arguments)".
struct Call {
  std::string callee;
  std::vector<Operand> results, arguments;
};
Call parts_of_call(const Instruction& instruction);

/// The kernel and every function that it may call, callers first. Throws PtxError for functions without a body (but for
/// __assertfail, which the interpreter is), for calls through pointers and for recursion.
std::vector<const Function*> call_order(const Module& module, const Function& kernel);

inline constexpr std::string_view kAssertFail = "__assertfail";

/// The module's shared variables that these functions name.
std::vector<const Variable*> shared_variables(const Module& module, const std::vector<const Function*>& functions);

/// Copies arguments or results within local memory: op.target is an index of Program::copies, filled in by the warp.
void copy_parameters(Warp& warp, const Op& op, LaneMask lanes);
/// Throws the fault of a failed assert, whose four arguments lie where the copies begin.
void assert_failed(Warp& warp, const Op& op, LaneMask lanes);

}  // namespace annulus::cudasim
