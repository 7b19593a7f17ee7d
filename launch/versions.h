#pragma once
// The libraries this program runs with, for --version.
#include <string>

namespace annulus {

std::string library_versions();

}  // namespace annulus
