#pragma once
#include <string>

#include "runtime/report/run_record.h"

namespace annulus {

/// The part of the page about one step: the ring's timeline, where each rank's time went, and how even the work is; or
/// why it is missing, and how to get it.
std::string ring_section(const RunRecord& run);

}  // namespace annulus
