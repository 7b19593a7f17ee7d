#pragma once

#include <cstddef>

#include "tests/cudasim/ptx/module.h"

namespace annulus::cudasim {

/// How many 32-bit words per lane operand `index` of the instruction takes: 1, 2, 0 for a predicate, or -1 where the
/// register decides (loads, stores and conversions may use wider registers than they name; addresses have either
/// width).
int words_per_lane(const Instruction& instruction, size_t index);

/// True for instructions whose first operand may be p|q: both places exist then, also where one is not wanted.
bool has_second_result(const Instruction& instruction);

}  // namespace annulus::cudasim
