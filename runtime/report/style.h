#pragma once

namespace annulus {

/// The style sheet of the report: by day and by night, wide and narrow, and on paper.
const char* report_style();

}  // namespace annulus
