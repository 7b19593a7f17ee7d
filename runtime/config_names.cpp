#include "runtime/config_names.h"

#include <algorithm>

#include "runtime/core/error.h"
#include "runtime/nearest.h"
#include "runtime/text.h"

namespace annulus {

ConfigNames::ConfigNames(const std::vector<ConfigField>& fields) {
  for (const ConfigField& field : fields) {
    if (sections_.empty() || sections_.back() != field.section) sections_.push_back(field.section);
    keys_.push_back(field.key);
    fields_.push_back(&field);
  }
}

bool ConfigNames::has_section(const std::string& section) const {
  return std::find(sections_.begin(), sections_.end(), section) != sections_.end();
}

const ConfigField* ConfigNames::find(const std::string& section, const std::string& key) const {
  for (const ConfigField* field : fields_)
    if (field->section == section && field->key == key) return field;
  return nullptr;
}

std::string ConfigNames::unknown_section(const std::string& section) const {
  const std::string near = nearest(section, sections_);
  return concat("unknown section [", printable_text(section), "]; ",
                near.empty() ? "the sections are " + list_text(sections_) : "did you mean [" + near + "]?");
}

std::string ConfigNames::unknown_key(const std::string& section, const std::string& key) const {
  const std::string fact = section.empty() ? concat("key ", printable_text(key), " stands outside any section; ")
                                           : concat("unknown key ", printable_text(section + "." + key), "; ");
  const std::string near = suggestion(section, key);
  if (!near.empty()) return fact + "did you mean " + near + "?";
  return has_section(section) ? fact + "[" + section + "] has " + list_text(keys_of(section))
                              : fact + "the sections are " + list_text(sections_);
}

std::string ConfigNames::not_a_section(const std::string& section) const {
  return concat("section ", section, " takes no value of its own; write [", section,
                "] once and below it KEY = VALUE, ", "where KEY is one of ", list_text(keys_of(section)));
}

std::vector<std::string> ConfigNames::keys_of(const std::string& section) const {
  std::vector<std::string> keys;
  for (const ConfigField* field : fields_)
    if (field->section == section) keys.push_back(field->key);
  return keys;
}

std::string ConfigNames::suggestion(const std::string& section, const std::string& key) const {
  const std::string near = nearest(key, keys_of(section));
  if (!near.empty()) return section + "." + near;
  const std::string elsewhere = nearest(key, keys_);
  const auto same_key = [&](const ConfigField* field) { return field->key == elsewhere; };
  const auto found = std::find_if(fields_.begin(), fields_.end(), same_key);
  return found == fields_.end() ? "" : (*found)->name();
}

}  // namespace annulus
