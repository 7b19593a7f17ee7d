// annulus report: one page about a run, from what its directory holds.
#include "comm/agree.h"
#include "launch/commands.h"
#include "launch/output_path.h"
#include "runtime/core/log.h"
#include "runtime/new_file.h"
#include "runtime/report/page.h"

namespace annulus {

void report(const ReportOptions& options, Group& processes) {
  agree(processes, [&] {
    require(processes.size() == 1, "report runs on one rank, but ", processes.size(),
            " were started; start it without a launcher");
    const RunRecord run = read_run(options.run);
    const std::string path = options.output.empty() ? options.run + "/report.html" : options.output;
    require_output_path(path, "--output");
    write_file(path, report_page(run));
    log::inform("report " + path);
  });
}

}  // namespace annulus
