#pragma once
// The table of all config keys: their names, bounds, choices and documentation.
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "runtime/config.h"

namespace annulus {

/// One key of the config: where it lives in a Config, what it may be, and what it means.
struct ConfigField {
  std::string section, key, help;
  std::variant<int64_t*, double*, bool*, std::string*> value;
  double least = 0.0, most = 0.0;         // numbers: inclusive bounds
  std::vector<std::string> choices = {};  // strings: allowed values; empty: any
  std::string name() const { return section + "." + key; }
};

/// Every field of `config`, in the order of the documentation. The pointers are valid as long as `config` is.
std::vector<ConfigField> config_fields(Config& config);

/// The field's value as TOML: 100, 0.001, true, "zigzag". Doubles keep every bit and always look like doubles.
std::string value_text(const ConfigField& field);

/// What the field may be: "1 to 1000000000", "true or false", "auto, shared, mpi, in-process", "any".
std::string allowed_text(const ConfigField& field);

/// What is wrong with the field's value by itself (bounds, choices, not finite) and how to mend it; empty: nothing.
std::string value_problem(const ConfigField& field);

/// Two keys that say one thing, of which a run is told one: data.global_batch and data.global_batch_tokens.
struct TwoWays {
  std::string key, in_tokens;  // in_tokens is 0 where it says nothing
};
const std::vector<TwoWays>& two_ways();

/// The Markdown page about every key (docs/CONFIG.md).
std::string config_reference();

}  // namespace annulus
