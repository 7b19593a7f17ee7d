#pragma once
// Configs as text: TOML files and command-line overrides in, TOML out.
#include <string>
#include <string_view>
#include <vector>

#include "runtime/config.h"

namespace annulus {

/// The config of a run: defaults, then the TOML file at `path`, then `overrides` ("--section.key=value"; the dashes may
/// be left out; of two for one key the last holds), then complete_and_validate. Throws UserError (64) with one message:
/// file:line:column or the override, what is wrong, and how to mend it. Nothing in either is ever ignored.
Config read_config(const std::string& path, const std::vector<std::string>& overrides);

/// The same from text in memory, without overrides; messages begin with `name_for_messages`.
Config parse_config(std::string_view text, const std::string& name_for_messages);

/// Every field as TOML, defaults included. parse_config reads an equal config back, every double to the last bit.
std::string config_text(const Config& config);

}  // namespace annulus
