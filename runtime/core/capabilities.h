#pragma once
// What goes with what: one table. From it come the choices of options, the refusals, docs/CAPABILITIES.md and the
// generated tests (tests/end_to_end/test_capabilities.py). What it does not allow is refused by name.
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace annulus {

enum class Command { kTrain, kAttention };

struct CapabilityValue {
  std::string name, meaning;
  bool train, attention;  // which commands support it
};

/// One thing in which runs differ.
struct CapabilityAxis {
  std::string name;
  std::string option;  // how people say it: a config key, an option; or what it follows from
  std::vector<CapabilityValue> values;
};

/// Two values that exclude each other.
struct CapabilityConflict {
  std::string axis, value, other_axis, other_value;
  bool can_be_asked_for;  // false: no config says it, since one of the two follows from the other
  std::string why;        // and, where it can be asked for, how to mend it
};

const std::vector<CapabilityAxis>& capability_axes();
const std::vector<CapabilityConflict>& capability_conflicts();

bool supports(const CapabilityValue& value, Command command);

/// The supported values of an axis, in the order of the table.
std::vector<std::string> supported_values(const std::string& axis, Command command);

/// Axis and value, for as many axes as are known.
using CapabilityChoice = std::vector<std::pair<std::string, std::string>>;

/// Why two of these exclude each other, and how to mend it.
std::optional<std::string> conflict_in(const CapabilityChoice& choice);

/// Why a command does not do these, and how to mend it; nothing: it does. An axis that is not in the table is a bug.
std::optional<std::string> refusal(Command command, const CapabilityChoice& choice);

/// Throws UserError (64) with the refusal.
void require_supported(Command command, const CapabilityChoice& choice);

}  // namespace annulus
