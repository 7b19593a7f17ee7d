#pragma once
// The options of `annulus bench`.
#include <CLI/CLI.hpp>

#include <functional>

#include "comm/group.h"

namespace annulus {

/// Adds the command and everything below it; one that is chosen becomes `command`.
void add_bench(CLI::App& app, std::function<void(Group&)>& command);

}  // namespace annulus
