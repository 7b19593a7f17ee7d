#include "runtime/version.h"

#include "annulus_version.h"  // written by cmake/Version.cmake at every build

namespace annulus {

std::string version_text() { return ANNULUS_VERSION " (" ANNULUS_COMMIT ")"; }

}  // namespace annulus
