#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tests/cudasim/ptx/launch.h"

namespace annulus::cudasim {

/// A device of its own for hand-written PTX with the one kernel k.
struct Machine {
  Memory memory;
  LoadedModule module;
  explicit Machine(const std::string& text)
      : module(".version 8.0\n.target sm_80\n.address_size 64\n" + text, memory) {}

  Statistics run(const Arguments& given, uint32_t threads = 32, Options options = {}, Dim3 grid = {}) {
    options.max_instructions = 1'000'000;  // a fault of the interpreter may be an endless loop
    return launch(module.kernel("k"), memory, grid, {threads}, given, options);
  }

  /// What it did wrong.
  DeviceFault fault(const Arguments& given, uint32_t threads = 32, const Options& options = {}, Dim3 grid = {}) {
    try {
      run(given, threads, options, grid);
    } catch (const DeviceFault& fault) {
      return fault;
    }
    ADD_FAILURE() << "ran to its end";
    return {FaultKind::kLaunch, {}, "no fault"};
  }
};

/// A kernel with the parameter `out`, whose address is %rd1; %r0 is the thread. Every thread stores %r1 to its place of
/// out, unless it has ended before.
inline std::string kernel(const std::string& body, const std::string& variables = "") {
  return variables + ".entry k(.param .u64 out) {.reg .b32 %r<40>; .reg .b64 %rd<20>; .reg .pred %p<10>;\n" +
         "ld.param.u64 %rd1, [out]; mov.u32 %r0, %tid.x; mov.u32 %r1, 0; mad.wide.u32 %rd2, %r0, 4, %rd1;\n" + body +
         "\nst.global.u32 [%rd2], %r1; ret; }";
}

}  // namespace annulus::cudasim
