#include <fmt/format.h>

#include <algorithm>

#include "tests/cudasim/ptx/body_parser.h"
#include "tests/cudasim/ptx/declarations.h"
#include "tests/cudasim/ptx/module.h"

namespace annulus::cudasim {
namespace {

class ModuleParser {
 public:
  explicit ModuleParser(std::string_view text) : in_(split_ptx(text)) {}

  Module run() {
    while (!in_.at_end()) declaration();
    return std::move(module_);
  }

 private:
  void declaration() {
    bool external = false;
    while (in_.is(".extern") || in_.is(".visible") || in_.is(".weak") || in_.is(".common"))
      external |= in_.take().text == ".extern";
    if (in_.take_if(".entry"))
      function(true);
    else if (in_.take_if(".func"))
      function(false);
    else if (names_space(in_.peek().text))
      variables(external);
    else
      directive();
  }

  void directive() {
    if (in_.take_if(".version") || in_.take_if(".address_size")) {
      in_.take();
    } else if (in_.take_if(".target")) {
      do in_.word("a target");
      while (in_.take_if(","));
    } else if (in_.take_if(".file")) {
      const int number = static_cast<int>(in_.integer());
      module_.files[number] = std::string(in_.take().text);
      while (in_.take_if(",")) in_.take();
    } else if (in_.take_if(".section")) {
      in_.word("a section");
      in_.skip_braces();
    } else if (!in_.take_if(";")) {
      in_.fail("this is not known outside a function");
    }
  }

  void variables(bool external) {
    for (Variable& variable : read_variables(in_)) {
      variable.defined = !external;
      module_.variables.push_back(std::move(variable));
    }
  }

  void function(bool entry) {
    Function made;
    made.entry = entry;
    while (in_.take_if(".attribute")) in_.skip_past(")");
    if (!entry && in_.is("(")) made.results = read_parameters(in_);
    made.name = in_.word("a function's name");
    if (in_.is("(")) made.parameters = read_parameters(in_);
    limits(made);
    made.defined = in_.is("{");
    if (made.defined)
      BodyParser(in_, made).run();
    else
      in_.expect(";");
    Function& known = module_.functions[made.name];
    if (!known.defined) known = std::move(made);  // a declaration may stand before its definition
  }

  // .maxntid 128, 1, 1  .minnctapersm 2  .noreturn
  void limits(Function& made) {
    while (in_.is_directive()) {
      const std::string_view name = in_.take().text;
      uint64_t product = 1;
      while (in_.peek().kind == Token::Kind::kNumber) {
        product *= in_.integer();
        in_.take_if(",");
      }
      if (name == ".maxntid" || name == ".reqntid") made.max_threads = static_cast<uint32_t>(product);
    }
  }

  TokenReader in_;
  Module module_;
};

}  // namespace

bool Instruction::has(std::string_view modifier) const {
  return std::find(modifiers.begin(), modifiers.end(), modifier) != modifiers.end();
}

Type Instruction::type(size_t i) const { return i < types.size() ? types[i] : Type::kB32; }

std::string Instruction::text() const {
  std::string text = opcode;
  for (const std::string& modifier : modifiers) text += "." + modifier;
  return text;
}

Module parse_ptx(std::string_view text) { return ModuleParser(text).run(); }

}  // namespace annulus::cudasim
