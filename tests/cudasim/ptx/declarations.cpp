#include "tests/cudasim/ptx/declarations.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>

namespace annulus::cudasim {
namespace {

std::optional<Space> space_of(std::string_view directive) {
  for (const Space space : {Space::kGlobal, Space::kConst, Space::kShared, Space::kLocal, Space::kParam})
    if (directive.starts_with('.') && directive.substr(1) == name_of(space)) return space;
  return std::nullopt;
}

struct Head {
  Variable variable;
  uint64_t vector = 1;
  bool aligned = false;
};

// Space, alignment and type; the name follows.
Head read_head(TokenReader& in) {
  Head head;
  const std::optional<Space> space = space_of(in.peek().text);
  if (!space) in.fail("expected a state space such as .global");
  in.take();
  head.variable.space = *space;
  while (in.is_directive()) {
    const std::string_view word = in.take().text.substr(1);
    if (word == "align" || word == "ptr") {
      if (word == "ptr") continue;  // .ptr .global .align n tells what the pointer points to; its alignment is not ours
      head.variable.alignment = in.integer();
      head.aligned = true;
    } else if (word == "v2" || word == "v4") {
      head.vector = word == "v2" ? 2 : 4;
    } else if (const std::optional<Type> type = type_named(word)) {
      head.variable.type = *type;
    } else if (!space_of("." + std::string(word))) {
      in.fail(fmt::format("'.{}' is not known in a declaration", word));
    }
  }
  if (!head.aligned) head.variable.alignment = size_of(head.variable.type) * head.vector;
  return head;
}

void append(Variable& variable, uint64_t value) {
  const uint32_t width = size_of(variable.type);
  const size_t at = variable.bytes.size();
  variable.bytes.resize(at + width);
  std::memcpy(variable.bytes.data() + at, &value, width);  // PTX and the host are little-endian
}

uint64_t number_of(std::string_view text, const TokenReader& in) {
  if (text.starts_with("0f") || text.starts_with("0F") || text.starts_with("0d") || text.starts_with("0D"))
    return integer_of("0x" + std::string(text.substr(2)), in);
  return integer_of(text, in);
}

void read_initial_value(TokenReader& in, Variable& variable) {
  if (in.take_if("{")) {
    while (!in.take_if("}")) {
      read_initial_value(in, variable);
      in.take_if(",");
    }
    return;
  }
  if (in.peek().kind == Token::Kind::kNumber && !in.peek().text.starts_with("0x")) {
    append(variable, number_of(in.take().text, in));
  } else if (!in.is_word()) {
    append(variable, in.integer());
  } else {
    const bool generic = in.is("generic");
    if (generic) in.take(), in.expect("(");
    Variable::Pointer pointer{variable.bytes.size(), in.word("a symbol"), 0};
    if (generic) in.expect(")");
    if (in.take_if("+")) pointer.addend = in.integer();
    variable.pointers.push_back(std::move(pointer));
    append(variable, 0);
  }
}

// Name, dimensions and initial value.
Variable read_declarator(TokenReader& in, const Head& head) {
  Variable variable = head.variable;
  variable.name = in.word("a name");
  uint64_t count = head.vector;
  bool open = false;
  while (in.take_if("[")) {
    if (in.is("]"))
      open = true;
    else
      count *= in.integer();
    in.expect("]");
  }
  if (in.take_if("=")) read_initial_value(in, variable);
  variable.size = open ? variable.bytes.size() : count * size_of(variable.type);
  return variable;
}

}  // namespace

bool names_space(std::string_view directive) { return space_of(directive).has_value(); }

std::vector<Variable> read_variables(TokenReader& in) {
  const Head head = read_head(in);
  std::vector<Variable> variables;
  do variables.push_back(read_declarator(in, head));
  while (in.take_if(","));
  in.expect(";");
  return variables;
}

std::vector<Variable> read_parameters(TokenReader& in) {
  std::vector<Variable> parameters;
  in.expect("(");
  while (!in.take_if(")")) {
    if (!in.is(".param")) in.fail("expected .param (parameters in registers are not supported)");
    const Head head = read_head(in);
    parameters.push_back(read_declarator(in, head));
    in.take_if(",");
  }
  return parameters;
}

}  // namespace annulus::cudasim
