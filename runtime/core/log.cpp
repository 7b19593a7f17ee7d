#include "runtime/core/log.h"

#include <cstdio>
#include <string>

namespace annulus::log {
namespace {

thread_local int this_rank = 0;
thread_local int num_ranks = 1;

// One write per line, so that lines of several ranks do not mix.
void write_line(std::FILE* stream, const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stream);
  std::fflush(stream);
}

}  // namespace

void set_rank(int rank, int size) {
  this_rank = rank;
  num_ranks = size;
}

void inform(std::string_view line) {
  if (this_rank == 0) write_line(stdout, std::string(line) + "\n");
}

void warn(std::string_view line) {
  if (this_rank == 0) write_line(stderr, "annulus: warning: " + std::string(line) + "\n");
}

void error(std::string_view line) {
  const std::string who =
      num_ranks > 1 ? "rank " + std::to_string(this_rank) + "/" + std::to_string(num_ranks) + ": " : "";
  write_line(stderr, "annulus: " + who + std::string(line) + "\n");
}

}  // namespace annulus::log
