#pragma once
// Whether a file that a command is to write can be there, asked before the work and not after it.
#include <string>

namespace annulus {

/// Throws UserError (73) where `path` is empty, something other than a file stands there (a file is replaced; a device
/// such as /dev/null must not be), or its directory is missing or not to be written. `what` begins the message.
void require_output_path(const std::string& path, const std::string& what);

}  // namespace annulus
