#include "runtime/config_file.h"

// toml++ 3.3 asserts before it reports some syntax errors ("a = ]", "[.b]"), so its assertions would turn a typing
// mistake into an abort; and it must be compiled here, without them, and not come from its library.
#undef TOML_SHARED_LIB
#undef TOML_HEADER_ONLY
#define TOML_HEADER_ONLY 1
#define TOML_ASSERT(condition) static_assert(true)
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <system_error>

#include "runtime/config_fields.h"
#include "runtime/config_names.h"
#include "runtime/core/error.h"
#include "runtime/text.h"

namespace annulus {
namespace {

constexpr size_t kMostBytes = 1 << 20;
constexpr size_t kMostDots = 1000;  // outside of strings; a config has about one per line
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

struct SyntaxError {
  std::string what;
  size_t line, column;
};

std::string at(const std::string& file, size_t line, size_t column) { return concat(file, ":", line, ":", column); }

std::string at(const std::string& file, const toml::source_region& source) {
  return at(file, source.begin.line, source.begin.column);
}

// ---- TOML text -> toml::table

// What toml++ must not see: it nests a table per dot of a key and recurses as deep to free them, and its test for white
// space is undefined for much of what is not ASCII. Quotes and comments may hold both.
void refuse_traps(std::string_view text) {
  for (const std::string_view mark : {"\xFF\xFE", "\xFE\xFF"})
    if (text.starts_with(mark)) throw SyntaxError{"this is UTF-16; save it as UTF-8", 1, 1};
  char inside = 0;  // the quote or # that began what we are in
  size_t dots = 0, line = 1, column = 0, quote_column = 0;
  for (size_t i = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; i < text.size(); ++i) {
    const char c = text[i];
    column += (c & 0xC0) != 0x80;  // counts characters, not bytes
    if (is_control(c) && c != '\n' && c != '\r' && c != '\t') {
      throw SyntaxError{fmt::format("a control character (U+{:04X}), so this is no text; write a TOML config", int{c}),
                        line, column};
    } else if (c == '\n' && (inside == '"' || inside == '\'')) {
      throw SyntaxError{concat("the string that begins here does not end on its line; close it with ", inside), line,
                        quote_column};
    } else if (c == '\n') {
      inside = 0, column = 0, ++line;
    } else if (inside == '"' && c == '\\' && i + 1 < text.size() && text[i + 1] != '\n') {
      ++i, ++column;
    } else if (inside != 0) {
      if (inside == c && c != '#') inside = 0;
    } else if (c == '"' || c == '\'' || c == '#') {
      inside = c, quote_column = column;
      const bool is_long = c != '#' && text.substr(i, 3) == std::string(3, c);
      if (is_long)
        throw SyntaxError{"no value here needs a string over several lines; write it on one, in single \" or '", line,
                          column};
    } else if ((c & 0x80) != 0) {
      throw SyntaxError{"only strings and comments may hold other than ASCII letters; quote it", line, column};
    } else if (c == '.' && ++dots > kMostDots) {
      throw SyntaxError{concat("more than ", kMostDots, " dots; a key is section.key"), line, column};
    }
  }
}

// What to do about a syntax error, of which toml++ tells only the fact.
std::string mend_of(const std::string& error) {
  const std::pair<const char*, const char*> kMends[] = {
      {"could not determine value type", "; strings stand in double quotes"},
      {"expected '", "; strings stand in double quotes"},  // 'true', 'inf', ... from its first letter
      {"representable in 64 bits", "; write a smaller number: no key takes one that large"},
      {"could not be interpreted as a value", "; write a number that a double can hold, at most 1.7e308"},
      {"utf-8", "; save the file as UTF-8"},
      {"cannot redefine", "; leave one of the two out"},
  };
  for (const auto& [words, mend] : kMends)
    if (error.find(words) != std::string::npos) return mend;
  return "";
}

toml::table toml_table(std::string_view text) {
  refuse_traps(text);
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    std::string what(error.description());
    throw SyntaxError{printable_text(what) + mend_of(what), error.source().begin.line, error.source().begin.column};
  }
}

// The table {v = text}. Within braces neither a comment nor a second line or key can hide behind the value.
toml::table toml_value(std::string_view text) {
  toml::table outer = toml_table(concat("x={v=", text, "}"));
  toml::table* inner = outer["x"].as_table();
  if (outer.size() != 1 || !inner || inner->size() != 1 || !inner->contains("v"))
    throw SyntaxError{"more than one value", 1, 1};
  return std::move(*inner);
}

// ---- toml::node -> field

std::string described(const toml::node& node) {
  if (const auto* integer = node.as_integer()) return std::to_string(integer->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (const auto* text = node.as_string()) return quoted_text(printable_text(text->get()));
  if (const auto* number = node.as_floating_point()) {
    double value = number->get();
    return value_text({"", "", "", &value});  // looks as in any other message
  }
  if (node.is_array()) return "an array";
  return node.is_table() ? "a table" : "a date or time";
}

// "train.steps takes " ...
std::string kind_of(const ConfigField& field) {
  if (std::holds_alternative<int64_t*>(field.value)) return "an integer from " + allowed_text(field);
  if (std::holds_alternative<double*>(field.value)) return "a number from " + allowed_text(field);
  if (std::holds_alternative<bool*>(field.value)) return "true or false";
  return field.choices.empty() ? "a string" : "one of " + allowed_text(field);
}

// "; write 3" where a value of the wrong type says clearly what was meant.
std::string advice(const ConfigField& field, const toml::node& node) {
  if (std::holds_alternative<std::string*>(field.value) && (node.is_number() || node.is_boolean()))
    return "; write \"" + described(node) + "\"";
  if (const auto* number = node.as_floating_point(); number && std::holds_alternative<int64_t*>(field.value)) {
    const bool whole = std::trunc(number->get()) == number->get();  // and in bounds, so that it fits an integer
    if (whole && field.least <= number->get() && number->get() <= field.most)
      return concat("; write ", int64_t(number->get()));
  }
  if (node.is_string() && !std::holds_alternative<std::string*>(field.value)) return "; leave the quotes out";
  if (node.is_table()) return "; write " + field.key + " = VALUE below [" + field.section + "]";
  return "";
}

template <class T>
bool take(T* target, const toml::node& node) {
  const auto* value = node.as<T>();
  if (value) *target = value->get();
  return value;
}

bool assign(const ConfigField& field, const toml::node& node) {
  if (auto* number = std::get_if<double*>(&field.value); number && node.is_integer()) {
    **number = double(node.as_integer()->get());
    return true;
  }
  return std::visit([&](auto* target) { return take(target, node); }, field.value);
}

// `where` begins the message: a place in a file, or an override.
void set_field(const ConfigField& field, const toml::node& node, const std::string& where) {
  require(assign(field, node), where, ": ", field.name(), " takes ", kind_of(field), ", not ", described(node),
          advice(field, node));
  const std::string problem = value_problem(field);
  require(problem.empty(), where, ": ", problem);
}

// ---- files

// One thing that a file says: a key of a section; or with no key, a section; or with no section, a key outside of any.
struct Entry {
  toml::source_region source;
  std::string section, key;
  const toml::node* node;
};

// In the order of the file, so that of several mistakes the first is reported.
std::vector<Entry> entries_of(const toml::table& root, const ConfigNames& names) {
  std::vector<Entry> entries;
  for (const auto& [name_at, node] : root) {
    const std::string name(name_at.str());
    const bool is_section = names.has_section(name) || node.is_table() || node.is_array_of_tables();
    if (!is_section) {
      entries.push_back({name_at.source(), "", name, &node});
    } else if (!node.is_table() || !names.has_section(name)) {
      entries.push_back({name_at.source(), name, "", &node});
    } else {
      for (const auto& [key, value] : *node.as_table())
        entries.push_back({key.source(), name, std::string(key.str()), &value});
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.source.begin < b.source.begin; });
  return entries;
}

// Adds the names of the keys it found to `given`.
void apply_text(const std::vector<ConfigField>& fields, std::string_view text, const std::string& file,
                std::set<std::string>& given) {
  const ConfigNames names(fields);
  toml::table root;
  try {
    root = toml_table(text);
  } catch (const SyntaxError& error) {
    fail(ExitCode::kUsage, at(file, error.line, error.column), ": not valid TOML: ", error.what);
  }
  for (const auto& [source, section, key, node] : entries_of(root, names)) {
    const std::string place = at(file, source);
    if (!section.empty() && key.empty())
      fail(ExitCode::kUsage, place, ": ",
           names.has_section(section) ? names.not_a_section(section) : names.unknown_section(section));
    const ConfigField* field = names.find(section, key);
    if (!field) fail(ExitCode::kUsage, place, ": ", names.unknown_key(section, key));
    set_field(*field, *node, at(file, node->source()));
    given.insert(field->name());
  }
}

std::string file_text(const std::string& path) {
  std::error_code ignored;
  const std::string shown = printable_text(path);
  require(!std::filesystem::is_directory(path, ignored), shown,
          " is a directory; give the path of a TOML config in it");
  require(!std::filesystem::exists(path, ignored) || std::filesystem::is_regular_file(path, ignored), shown,
          " is a pipe or a device; give the path of a TOML config, which every rank can read");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  require(file || errno != ENOENT, quoted_text(shown), " does not exist; give the path of a TOML config");
  require(file != nullptr, shown, " cannot be opened: ", std::generic_category().message(errno),
          "; give the path of a TOML config that you may read");
  std::string text(kMostBytes + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  require(!std::ferror(file.get()), shown, " cannot be read: ", std::generic_category().message(errno),
          "; give the path of a TOML config");
  require(text.size() <= kMostBytes, shown,
          " is larger than 1 MiB, so it is no config; give the path of a TOML config");
  return text;
}

// ---- overrides

toml::table override_value(const ConfigField& field, const std::string& value, const std::string& shown) {
  const bool is_string = std::holds_alternative<std::string*>(field.value);
  const bool is_bare = is_string && value.front() != '"' && value.front() != '\'';  // shells take the quotes away
  try {
    return toml_value(is_bare ? quoted_text(value) : value);
  } catch (const SyntaxError& error) {
    require(!is_string, shown, ": not a TOML string: ", error.what);
    fail(ExitCode::kUsage, shown, ": ", field.name(), " takes ", kind_of(field), ", not ", printable_text(value));
  }
}

void apply_override(const std::vector<ConfigField>& fields, const std::string& text, std::set<std::string>& given) {
  const ConfigNames names(fields);
  const std::string shown = printable_text(text);
  const size_t begin = text.starts_with("--") ? 2 : text.starts_with("-"), equals = text.find('=');
  const std::string name = text.substr(begin, equals == std::string::npos ? equals : equals - begin);
  require(!name.empty(), quoted_text(shown), " names no key; write an override as --section.key=VALUE");
  require(!names.has_section(name), shown, ": ", name, " is a section; write --", name, ".KEY=VALUE");
  const size_t dot = name.find('.');
  const std::string section = dot == std::string::npos ? "" : name.substr(0, dot), key = name.substr(dot + 1);
  const ConfigField* field = names.find(section, key);
  if (!field) fail(ExitCode::kUsage, shown, ": ", names.unknown_key(section, key));
  const std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
  require(!value.empty(), shown, " has no value; write --", name, "=VALUE, ", kind_of(*field));
  const toml::table parsed = override_value(*field, value, shown);
  set_field(*field, *parsed.get("v"), shown);
  given.insert(field->name());
}

// The command line beats the file also where each says it in another way.
void let_overrides_decide(Config& config, std::set<std::string>& in_file, const std::set<std::string>& overridden) {
  for (const TwoWays& two : two_ways()) {
    const bool key = overridden.contains(two.key), in_tokens = overridden.contains(two.in_tokens);
    if (in_tokens && !key) in_file.erase(two.key);
    for (const ConfigField& field : config_fields(config))
      if (key && !in_tokens && field.name() == two.in_tokens) *std::get<int64_t*>(field.value) = 0;
  }
}

// Which of the two would hold, where both stand in one place?
void refuse_both_of_two_ways(Config& config, const std::set<std::string>& given) {
  const std::vector<ConfigField> fields = config_fields(config);
  const auto value = [&](const std::string& name) {
    const auto named = [&](const ConfigField& field) { return field.name() == name; };
    return value_text(*std::find_if(fields.begin(), fields.end(), named));
  };
  for (const TwoWays& two : two_ways())
    require(given.count(two.key) == 0 || value(two.in_tokens) == "0", two.key, " = ", value(two.key), " and ",
            two.in_tokens, " = ", value(two.in_tokens), " are both given, but they say the same thing in two ways; ",
            "leave one of them out (", two.in_tokens, " = 0 is out, too)");
}

// ConfigNames where the values that contradict each other came from.
void complete_config(Config& config, const std::set<std::string>& given, const std::string& source) {
  try {
    refuse_both_of_two_ways(config, given);
    complete_and_validate(config);
  } catch (const UserError& error) {
    fail(error.code(), source, ": ", error.what());
  }
}

}  // namespace

Config read_config(const std::string& path, const std::vector<std::string>& overrides) {
  Config config;
  const std::vector<ConfigField> fields = config_fields(config);
  std::set<std::string> given, overridden;
  apply_text(fields, file_text(path), path, given);
  for (const std::string& text : overrides) apply_override(fields, text, overridden);
  let_overrides_decide(config, given, overridden);
  given.merge(overridden);
  complete_config(config, given, overrides.empty() ? path : path + " with the overrides");
  return config;
}

Config parse_config(std::string_view text, const std::string& name_for_messages) {
  Config config;
  require(text.size() <= kMostBytes, name_for_messages, " is larger than 1 MiB, so it is no config");
  std::set<std::string> given;
  apply_text(config_fields(config), text, name_for_messages, given);
  complete_config(config, given, name_for_messages);
  return config;
}

std::string config_text(const Config& config) {
  Config copy = config;
  std::string text, section;
  for (const ConfigField& field : config_fields(copy)) {
    if (field.section != section) text += (text.empty() ? "[" : "\n[") + field.section + "]\n";
    section = field.section;
    text += field.key + " = " + value_text(field) + "\n";
  }
  return text;
}

}  // namespace annulus
