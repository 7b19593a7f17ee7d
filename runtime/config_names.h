#pragma once
// The names of all config sections and keys, and what to say about one that is not among them.
#include <string>
#include <vector>

#include "runtime/config_fields.h"

namespace annulus {

class ConfigNames {
 public:
  /// `fields` must outlive it.
  explicit ConfigNames(const std::vector<ConfigField>& fields);

  bool has_section(const std::string& section) const;
  const ConfigField* find(const std::string& section, const std::string& key) const;  // nullptr: there is none

  // Messages, with the nearest name or with all that there are.
  std::string unknown_section(const std::string& section) const;
  std::string unknown_key(const std::string& section, const std::string& key) const;
  std::string not_a_section(const std::string& section) const;  // a value where keys should stand

 private:
  std::vector<std::string> keys_of(const std::string& section) const;
  /// The full name of the known key that section.key most likely stands for: in its section, else in any other.
  std::string suggestion(const std::string& section, const std::string& key) const;

  std::vector<std::string> sections_, keys_;
  std::vector<const ConfigField*> fields_;
};

}  // namespace annulus
