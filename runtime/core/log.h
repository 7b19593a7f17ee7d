#pragma once
// Lines for people. One rank speaks; a warning or error of another rank carries its number.
#include <string_view>

namespace annulus::log {

/// Which rank the calling thread is (ranks may be threads of one process).
void set_rank(int rank, int size);

/// To stdout, from rank 0 only.
void inform(std::string_view line);

/// To stderr, from rank 0 only: for what every rank knows.
void warn(std::string_view line);

/// To stderr as "annulus: rank 3/8: ...", from any rank; "annulus: ..." where there is one rank.
void error(std::string_view line);

}  // namespace annulus::log
