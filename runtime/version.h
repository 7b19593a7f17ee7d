#pragma once
// What this build is.
#include <string>

namespace annulus {

/// "0.1.0 (1a2b3c4)", with the commit it was built from; "-dirty" behind it where files differed.
std::string version_text();

}  // namespace annulus
