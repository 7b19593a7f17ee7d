#pragma once
// The capability table (runtime/core/capabilities.h) for people and for programs.
#include <string>

namespace annulus {

/// docs/CAPABILITIES.md
std::string capabilities_page();

/// {"axes": [{"name", "option", "values": [{"name", "meaning", "train", "attention"}]}], "conflicts": [{"axis",
/// "value", "other_axis", "other_value", "can_be_asked_for", "why"}]}
std::string capabilities_json();

}  // namespace annulus
