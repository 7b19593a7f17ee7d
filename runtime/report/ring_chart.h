#pragma once
// The ring at work: a row per rank, time to the right.
#include <string>
#include <vector>

#include "runtime/report/ring_summary.h"

namespace annulus {

/// What happened on `ranks` within `window`, as SVG. Each stretch of time says under the pointer what it was; where
/// there are more than fit the page, every place shows what most of its time went into.
std::string ring_chart(const std::vector<std::vector<Stretch>>& stretches, const std::vector<int>& ranks,
                       const Trace& trace, Window window, const std::string& label);

/// CSS of the colours of blocks, "b0" to "b15".
std::string block_colours();

/// The meaning of its colours.
std::string ring_legend(const Trace& trace);

}  // namespace annulus
