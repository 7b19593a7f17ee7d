#include "tests/cudasim/ptx/body_parser.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include "tests/cudasim/ptx/declarations.h"

namespace annulus::cudasim {

void BodyParser::run() {
  in_.expect("{");
  open_scope();
  while (!scopes_.empty()) {
    if (in_.at_end()) in_.fail("expected '}'");
    if (in_.take_if("{"))
      open_scope();
    else if (in_.take_if("}"))
      close_scope();
    else if (!in_.take_if(";"))
      statement();
  }
}

// A label may stand below its use, so uses are resolved where their scope ends; what is left belongs to a scope outside
// or, at the end, to the module.
void BodyParser::close_scope() {
  Scope scope = std::move(scopes_.back());
  scopes_.pop_back();
  for (Table& table : scope.pending_tables) {
    for (const std::string& target : table.targets) {
      const auto label = scope.labels.find(target);
      if (label == scope.labels.end())
        in_.fail("a branch table names '" + target + "', which is no label of its scope");
      function_.branch_tables[table.index].push_back(label->second);
    }
  }
  for (Use& use : scope.uses) {
    Operand& operand = function_.code[use.instruction].operands[use.operand];
    const auto label = scope.labels.find(use.name);
    const auto table = scope.tables.find(use.name);
    if (label != scope.labels.end() || table != scope.tables.end()) {
      operand.kind = Operand::Kind::kLabel;
      operand.index = label != scope.labels.end() ? label->second : table->second;
    } else if (!scopes_.empty()) {
      scopes_.back().uses.push_back(std::move(use));
    }
  }
}

void BodyParser::statement() {
  if (in_.is_directive())
    directive();
  else if (in_.is_word() && in_.is(":", 1))
    label();
  else
    instruction();
}

void BodyParser::directive() {
  if (in_.is(".reg"))
    declare_registers();
  else if (in_.is(".loc"))
    location();
  else if (in_.is(".pragma"))
    pragma();
  else if (names_space(in_.peek().text))
    declare_variables();
  else
    in_.fail("this directive is not known in a function");
}

void BodyParser::declare_registers() {
  in_.expect(".reg");
  const std::optional<Type> type = type_named(in_.word("a type").substr(1));
  if (!type) in_.fail("expected a type");
  do {
    const std::string name = in_.word("a register");
    const int first = static_cast<int>(function_.registers.size());
    int count = 1;
    if (in_.take_if("<")) {
      count = static_cast<int>(in_.integer());
      in_.expect(">");
      scopes_.back().ranges[name] = {first, count};
    } else {
      scopes_.back().registers[name] = first;
    }
    function_.registers.insert(function_.registers.end(), static_cast<size_t>(count), *type);
  } while (in_.take_if(","));
  in_.expect(";");
}

void BodyParser::declare_variables() {
  for (Variable& variable : read_variables(in_)) {
    scopes_.back().variables[variable.name] = static_cast<int>(function_.variables.size());
    function_.variables.push_back(std::move(variable));
  }
}

// .loc file line column [, function_name name [+ offset], inlined_at file line column]
void BodyParser::location() {
  in_.expect(".loc");
  source_.file = static_cast<int>(in_.integer());
  source_.line = static_cast<int>(in_.integer());
  in_.integer();
  while (in_.take_if(",")) {
    const std::string part = in_.word("function_name or inlined_at");
    if (part == "function_name") {
      in_.word("a label");
      if (in_.take_if("+")) in_.integer();
    } else {
      for (int i = 0; i < 3; ++i) in_.integer();
    }
  }
}

// .pragma "nounroll"; and .pragma "used_bytes_mask 0xfff"; which is about the load that follows
void BodyParser::pragma() {
  in_.expect(".pragma");
  constexpr std::string_view kUsedBytes = "used_bytes_mask ";
  const std::string_view text = in_.peek().text;
  if (text.starts_with(kUsedBytes))
    used_bytes_ = static_cast<uint32_t>(integer_of(text.substr(kUsedBytes.size()), in_));
  in_.skip_past(";");
}

void BodyParser::label() {
  const std::string name = in_.word("a label");
  in_.expect(":");
  if (in_.take_if(".branchtargets")) {
    const size_t index = function_.branch_tables.size();
    function_.branch_tables.emplace_back();
    Table table{name, {}, index};
    do table.targets.push_back(in_.word("a label"));
    while (in_.take_if(","));
    in_.expect(";");
    scopes_.back().tables[name] = static_cast<int>(index);
    scopes_.back().pending_tables.push_back(std::move(table));
  } else if (in_.is(".callprototype")) {
    in_.skip_past(";");  // the called function says the same
    scopes_.back().labels[name] = 0;
  } else {
    scopes_.back().labels[name] = static_cast<int>(function_.code.size());
  }
}

void BodyParser::instruction() {
  Instruction made;
  made.line = in_.peek().line;
  made.source = source_;
  made.used_bytes = std::exchange(used_bytes_, kAllBytes);
  if (in_.take_if("@")) {
    made.guard_negated = in_.take_if("!");
    const std::string name = in_.word("a predicate");
    made.guard = find_register(name);
    if (made.guard < 0) in_.fail("'" + name + "' is no register");
  }
  const std::string text = in_.word("an instruction");
  for (size_t at = 0; at <= text.size();) {
    const size_t dot = std::min(text.find('.', at), text.size());
    const std::string part = text.substr(at, dot - at);
    if (at == 0)
      made.opcode = part;
    else
      made.modifiers.push_back(part);
    if (const std::optional<Type> type = at > 0 ? type_named(part) : std::nullopt) made.types.push_back(*type);
    at = dot + 1;
  }
  function_.code.push_back(std::move(made));
  while (!in_.take_if(";")) {
    Operand read = operand(text);
    function_.code.back().operands.push_back(std::move(read));
    if (!in_.is(";")) in_.expect(",");
  }
}

Operand BodyParser::operand(const std::string& opcode) {
  if (in_.is("{") || in_.is("(")) {  // a vector, or the arguments of a call
    const bool call = in_.is("(");
    in_.take();
    Operand vector;
    vector.kind = Operand::Kind::kVector;
    while (!in_.take_if(call ? ")" : "}")) {
      vector.parts.push_back(operand(opcode));
      in_.take_if(",");
    }
    return vector;
  }
  if (in_.take_if("[")) {
    Operand place = plain_operand(opcode);
    place.address = true;
    in_.expect("]");
    return place;
  }
  return plain_operand(opcode);
}

Operand BodyParser::plain_operand(const std::string& opcode) {
  const bool negated = in_.take_if("!");
  if (!in_.is_word()) return number();
  const std::string name = in_.word("an operand");
  Operand read = named(name, opcode.starts_with("call"));
  read.negated = negated;
  if (in_.take_if("|")) {
    const std::string second = in_.word("a register");
    read.second = second == "_" ? -1 : find_register(second);
    if (read.second < 0 && second != "_") in_.fail("'" + second + "' is no register");
  }
  add_offset(read);
  return read;
}

void BodyParser::add_offset(Operand& operand) {
  if (in_.take_if("+"))
    operand.value += in_.integer();
  else if (in_.is("-"))
    operand.value += in_.integer();
}

Operand BodyParser::number() {
  Operand read;
  read.kind = Operand::Kind::kImmediate;
  const bool negative = in_.take_if("-");
  if (in_.peek().kind != Token::Kind::kNumber) in_.fail("expected an operand");
  const std::string_view text = in_.peek().text;
  if (text.size() > 2 && text[0] == '0' && std::string_view("fFdD").find(text[1]) != std::string_view::npos) {
    read.value = integer_of("0x" + std::string(text.substr(2)), in_);
    read.floating = true;
  } else {
    read.value = integer_of(text, in_);
  }
  if (negative) read.value = 0 - read.value;
  in_.take();
  return read;
}

Operand BodyParser::named(const std::string& name, bool call) {
  Operand read;
  if (name == "_") return read;
  read.name = name;
  if (const int index = find_register(name); index >= 0) {
    read.kind = Operand::Kind::kRegister;
    read.index = index;
    return read;
  }
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto variable = scope->variables.find(name); variable != scope->variables.end()) {
      read.kind = Operand::Kind::kVariable;
      read.index = variable->second;
      return read;
    }
  }
  if (name == "WARP_SZ") {
    read.kind = Operand::Kind::kImmediate;
    read.value = 32;
    return read;
  }
  read.kind = name[0] == '%' ? Operand::Kind::kSpecial : Operand::Kind::kSymbol;
  if (read.kind == Operand::Kind::kSymbol && !call)
    scopes_.back().uses.push_back({name, function_.code.size() - 1, function_.code.back().operands.size()});
  return read;
}

int BodyParser::find_register(std::string_view name) const {
  size_t digits = name.size();
  while (digits > 0 && std::isdigit(static_cast<unsigned char>(name[digits - 1])) != 0) --digits;
  int number = -1;
  std::from_chars(name.data() + digits, name.data() + name.size(), number);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto found = scope->registers.find(name); found != scope->registers.end()) return found->second;
    const auto range = scope->ranges.find(name.substr(0, digits));
    if (range != scope->ranges.end() && number >= 0 && number < range->second.count)
      return range->second.first + number;
  }
  return -1;
}

}  // namespace annulus::cudasim
