#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/cudasim/ptx/types.h"

namespace annulus::cudasim {

struct Program;

/// How often one instruction ran, and what it moved. A request is one instruction of one warp.
struct Counter {
  uint64_t runs = 0;                                            // by a warp
  uint64_t threads = 0;                                         // lanes that took part, over all runs
  uint64_t global_requests = 0, sectors = 0, global_bytes = 0;  // sectors of 32 bytes; bytes that the lanes asked for
  uint64_t shared_requests = 0, wavefronts = 0, fewest_wavefronts = 0, shared_bytes = 0;
};

/// Of one launch, or of several added up.
struct Statistics {
  struct Line {
    int ptx_line = 0;
    std::string instruction, source;
    Counter counter;
  };
  std::vector<Line> lines;              // every instruction that ran
  std::map<std::string, uint64_t> mix;  // warp instructions by "fma.rn.f32"
  Counter total;
  uint64_t tensor_core_instructions = 0;

  void add(const Statistics& more);  // of another launch of the same kernel

  /// 1 means that no two lanes met in a bank.
  double wavefronts_per_fewest() const { return ratio(total.wavefronts, total.fewest_wavefronts); }
  double sectors_per_request() const { return ratio(total.sectors, total.global_requests); }
  double useful_bytes() const { return ratio(total.global_bytes, total.sectors * 32); }  // of those moved

 private:
  static double ratio(uint64_t a, uint64_t b) { return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b); }
};

/// How often the instructions of a program ran. Kept as differences from each instruction to the next, so that a
/// stretch which runs from its first to its last costs as much as one instruction.
class RunCounter {
 public:
  explicit RunCounter(size_t instructions) : steps_(instructions + 1) {}
  /// The instructions from `first` up to `end` ran, with so many lanes each.
  void add(uint32_t first, uint32_t end, uint32_t lanes) {
    ++steps_[first].runs;
    --steps_[end].runs;
    steps_[first].threads += lanes;
    steps_[end].threads -= lanes;
  }
  /// So many of those lanes were absent from one of them.
  void subtract_lanes(uint32_t instruction, uint32_t lanes) {
    steps_[instruction].threads -= lanes;
    steps_[instruction + 1].threads += lanes;
  }
  /// Sets runs and threads of the instructions' counters.
  void sum_up(std::vector<Counter>& counters) const;

 private:
  struct Step {
    uint64_t runs = 0, threads = 0;  // wrap around below 0; their sums do not
  };
  std::vector<Step> steps_;
};

Statistics summarise(const Program& program, const std::vector<Counter>& counters);

/// Adds one request of a warp: `bytes` at each of the lanes' addresses.
void count_global(Counter& counter, const uint64_t* addresses, uint32_t lanes, uint32_t bytes);
void count_shared(Counter& counter, const uint64_t* addresses, uint32_t lanes, uint32_t bytes);

}  // namespace annulus::cudasim
