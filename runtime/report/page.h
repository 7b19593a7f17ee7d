#pragma once
// report.html: one page that shows a run. It holds everything it needs, and needs no scripts.
#include <string>

#include "runtime/report/run_record.h"

namespace annulus {

/// The page of a run: a function of what its directory holds, and of nothing else.
std::string report_page(const RunRecord& run);

/// Reads the run in `directory` and writes its page to `path`. Throws UserError: that of read_run(), or 73.
void write_report(const std::string& directory, const std::string& path);

}  // namespace annulus
