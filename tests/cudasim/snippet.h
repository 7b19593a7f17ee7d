#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cudasim/ptx/launch.h"

namespace annulus::cudasim {

/// One thread's inputs: %rd1..3 hold them, %r1..3, %rs1..3, %f1..3, %fd1..3 and %h1..3 their low bits.
struct Inputs {
  uint64_t a = 0, b = 0, c = 0;
};

/// The PTX of a kernel that runs `body` in every thread and stores `result` (such as "%r9") as `type` (such as "u32").
inline std::string snippet(std::string_view body, std::string_view result, std::string_view type) {
  std::string text = R"(.version 8.0
.target sm_80
.address_size 64
.visible .entry snippet(.param .u64 in, .param .u64 out) {
.reg .pred %p<10>;
.reg .b16 %rs<10>;
.reg .b16 %h<10>;
.reg .b32 %r<20>;
.reg .f32 %f<10>;
.reg .b64 %rd<20>;
.reg .f64 %fd<10>;
mov.u32 %r10, %tid.x;
ld.param.u64 %rd10, [in];
ld.param.u64 %rd11, [out];
mad.wide.u32 %rd12, %r10, 24, %rd10;
mad.wide.u32 %rd13, %r10, 8, %rd11;
)";
  for (int i = 1; i <= 3; ++i) {
    const std::string n = std::to_string(i), at = ", [%rd12+" + std::to_string(8 * (i - 1)) + "];\n";
    text += "ld.global.u64 %rd" + n + at + "ld.global.u32 %r" + n + at + "ld.global.u16 %rs" + n + at;
    text += "ld.global.b16 %h" + n + at + "ld.global.f32 %f" + n + at + "ld.global.f64 %fd" + n + at;
  }
  text += body;
  text += "\nst.global." + std::string(type) + " [%rd13], " + std::string(result) + ";\nret;\n}\n";
  return text;
}

/// Runs the snippet with one thread for each of the inputs and returns what they stored, zero extended.
inline std::vector<uint64_t> run_snippet(std::string_view body, std::string_view result, std::string_view type,
                                         const std::vector<Inputs>& inputs, const Options& options = {}) {
  Memory memory;
  LoadedModule module(snippet(body, result, type), memory);
  const uint64_t in = memory.upload(inputs, "inputs");
  const uint64_t out = memory.upload(std::vector<uint64_t>(inputs.size(), 0), "outputs");
  launch(module.kernel("snippet"), memory, {}, {static_cast<uint32_t>(inputs.size())}, arguments(in, out), options);
  return memory.download<uint64_t>(out, inputs.size());
}

}  // namespace annulus::cudasim
