#include "tests/cudasim/ptx/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/fault.h"
#include "tests/cudasim/ptx/function_calls.h"
#include "tests/cudasim/ptx/function_frame.h"
#include "tests/cudasim/ptx/operand_types.h"

namespace annulus::cudasim {
namespace {

const std::map<std::string, std::vector<const Family*>, std::less<>>& all_families() {
  static const auto table = [] {
    std::map<std::string, std::vector<const Family*>, std::less<>> by_opcode;
    for (const auto families :
         {half_families(), integer_families(), bit_families(), float_families(), compare_families(), move_families(),
          convert_families(), memory_families(), atomic_families(), async_families(), warp_families(),
          matrix_families(), flow_families()})
      for (const Family& family : families) by_opcode[std::string(family.opcode)].push_back(&family);
    return by_opcode;
  }();
  return table;
}

// The first modifier that the family does not understand.
std::optional<std::string> unknown_modifier(const Family& family, const Instruction& in) {
  for (const std::string& modifier : in.modifiers)
    if (!type_named(modifier) && family.modifiers.find(" " + modifier + " ") == std::string_view::npos) return modifier;
  return std::nullopt;
}

// Several families may share an opcode; the first that knows the form has it. Returns what is wrong, or nothing.
std::string prepare(const Instruction& in, Op& op) {
  const auto found = all_families().find(in.opcode);
  if (found == all_families().end()) return "is not known";
  std::string complaint = "is not known in this form";
  for (const Family* family : found->second) {
    if (const auto modifier = unknown_modifier(*family, in)) {
      complaint = fmt::format("has the modifier .{}, which is not known", *modifier);
      continue;
    }
    Op attempt = op;
    if (family->prepare(in, attempt)) {
      op = attempt;
      return "";
    }
  }
  return complaint;
}

uint8_t order_of(const Instruction& in) {
  const bool fence = in.opcode == "fence" || in.opcode == "membar", both = fence || in.has("acq_rel");
  const bool acquires = both || in.has("acquire"), releases = both || in.has("release");
  const bool strong =
      acquires || releases || in.opcode == "atom" || in.opcode == "red" || in.has("volatile") || in.has("relaxed");
  return static_cast<uint8_t>((strong ? kStrong : 0) | (acquires ? kAcquire : 0) | (releases ? kRelease : 0) |
                              (in.has("cta") ? kBlockScope : 0));
}

class Decoder {
 public:
  Decoder(const Module& module, const Function& kernel, const std::map<std::string, uint64_t>& addresses)
      : module_(module), kernel_(kernel), addresses_(addresses), storage_(program_) {
    program_.kernel = kernel.name;
    program_.max_threads = kernel.max_threads;
    program_.files = module.files;
  }

  Program run() {
    const std::vector<const Function*> functions = call_order(module_, kernel_);
    for (const Function* function : functions) frames_.try_emplace(function->name, *function, program_, storage_);
    const std::vector<const Variable*> shared = shared_variables(module_, functions);
    for (const Variable* variable : shared)
      if (variable->size > 0) storage_.shared(*variable);
    place_dynamic_memory(shared);
    for (const Function* function : functions) add_function(frames_.at(function->name));
    for (const auto& [op, callee] : calls_) program_.code[op].target = frames_.at(callee).pc_of[0];
    for (size_t i = 0; i < program_.code.size(); ++i)
      program_.code[i].slots = program_.operands.data() + first_slot_[i];
    return std::move(program_);
  }

 private:
  // The extern arrays begin behind every static variable, all at the same place.
  void place_dynamic_memory(const std::vector<const Variable*>& shared) {
    uint64_t alignment = 16;
    for (const Variable* variable : shared)
      if (variable->size == 0) alignment = std::max(alignment, variable->alignment);
    program_.shared_bytes = static_cast<uint32_t>((program_.shared_bytes + alignment - 1) / alignment * alignment);
    for (const Variable* variable : shared)
      if (variable->size == 0) storage_.shared(*variable);
  }

  void add_function(FunctionFrame& frame) {
    std::vector<std::pair<size_t, int>> branches;  // op, instruction it goes to
    for (const Instruction& in : frame.function.code) {
      frame.pc_of.push_back(static_cast<uint32_t>(program_.code.size()));
      if (in.opcode == "call")
        add_call(frame, in);
      else
        add(frame, in);
      if (in.opcode == "bra") branches.emplace_back(program_.code.size() - 1, in.operands.at(0).index);
    }
    frame.pc_of.push_back(static_cast<uint32_t>(program_.code.size()));
    Instruction end;
    end.opcode = "ret";
    add(frame, end);
    for (const auto& [op, target] : branches) program_.code[op].target = frame.pc_of[static_cast<size_t>(target)];
    for (const size_t op : table_branches_) resolve_table(frame, program_.code[op]);
    table_branches_.clear();
  }

  void resolve_table(const FunctionFrame& frame, Op& op) {
    std::vector<uint32_t> targets;
    for (const int instruction : frame.function.branch_tables[op.target])
      targets.push_back(frame.pc_of[static_cast<size_t>(instruction)]);
    op.target = static_cast<uint32_t>(program_.branch_tables.size());
    program_.branch_tables.push_back(std::move(targets));
  }

  Op begin(const FunctionFrame& frame, const Instruction& in) {
    Op op;
    op.line = in.line;
    op.source = in.source;
    op.text = in.text();
    op.order = order_of(in);
    if (in.guard >= 0) op.guard = frame.registers[static_cast<size_t>(in.guard)];
    op.guard_flip = in.guard_negated ? kAllLanes : 0;
    return op;
  }

  void finish(Op op, const std::vector<uint32_t>& slots) {
    first_slot_.push_back(program_.operands.size());
    program_.operands.insert(program_.operands.end(), slots.begin(), slots.end());
    program_.code.push_back(std::move(op));
  }

  void add(const FunctionFrame& frame, const Instruction& in) {
    Op op = begin(frame, in);
    std::vector<uint32_t> slots;
    bool second_address = false;
    for (size_t i = 0; i < in.operands.size(); ++i) {
      const Operand& operand = in.operands[i];
      if (operand.kind == Operand::Kind::kLabel) {  // a branch's target is not an operand
        op.target = static_cast<uint32_t>(operand.index);
        continue;
      }
      if (operand.address) {
        op.space = space_of(frame, in, operand);
        (second_address ? op.second_offset : op.offset) = static_cast<int64_t>(operand.value);
        second_address = true;
      }
      flatten(frame, in, i, operand, op, slots);
      if (i == 0 && has_second_result(in))
        slots.push_back(operand.second >= 0 ? frame.registers[static_cast<size_t>(operand.second)] : storage_.sink());
    }
    if (in.has("cc") || in.opcode == "addc" || in.opcode == "subc" || in.opcode == "madc")
      slots.push_back(storage_.carry());
    op.operand_count = static_cast<uint32_t>(slots.size());
    if (const std::string complaint = prepare(in, op); !complaint.empty()) fail(in, complaint);
    if (in.opcode == "ret" && !frame.function.entry) {
      op.control = Control::kReturn;
      slots = {frame.link};
    }
    if (op.control == Control::kTableBranch) table_branches_.push_back(program_.code.size());
    finish(std::move(op), slots);
  }

  void flatten(const FunctionFrame& frame, const Instruction& in, size_t index, const Operand& operand, Op& op,
               std::vector<uint32_t>& slots) {
    if (operand.kind == Operand::Kind::kVector) {
      for (const Operand& part : operand.parts) flatten(frame, in, index, part, op, slots);
      return;
    }
    int words = words_per_lane(in, index);
    const bool part = in.opcode == "mov" && in.operands[index].kind == Operand::Kind::kVector;
    if (part) words = -1;
    if (operand.kind == Operand::Kind::kRegister) {
      const Type type = frame.function.registers[static_cast<size_t>(operand.index)];
      const int actual = type == Type::kPred ? 0 : size_of(type) == 8 ? 2 : 1;
      if (words >= 0 && actual != words)
        fail(in, fmt::format("has the operand {}, whose width does not fit", operand.name));
      words = actual;
    } else if (words < 0) {
      words =
          operand.kind == Operand::Kind::kSpecial || (in.opcode != "cvta" && !operand.address && size_of(in.type()) < 8)
              ? 1
              : 2;
    }
    if (words == 2) op.wide |= 1u << slots.size();
    if (operand.negated) op.negated |= 1u << slots.size();
    slots.push_back(place(frame, in, operand, words));
  }

  uint32_t place(const FunctionFrame& frame, const Instruction& in, const Operand& operand, int words) {
    switch (operand.kind) {
      case Operand::Kind::kRegister:
        return frame.registers[static_cast<size_t>(operand.index)];
      case Operand::Kind::kSpecial:
        return storage_.special(operand.name);
      case Operand::Kind::kImmediate:
        return storage_.constant(words == 0 && operand.value != 0 ? ~uint64_t{0} : operand.value, words);
      case Operand::Kind::kSink:
        return storage_.sink();
      case Operand::Kind::kVariable:
      case Operand::Kind::kSymbol:  // the offset of an address is added where it is used
        return storage_.constant(address_of(frame, in, operand) + (operand.address ? 0 : operand.value), words);
      default:
        fail(in, "has an operand that is out of place");
    }
  }

  uint64_t address_of(const FunctionFrame& frame, const Instruction& in, const Operand& operand) {
    if (operand.kind == Operand::Kind::kVariable) return frame.variables[static_cast<size_t>(operand.index)];
    if (const auto own = frame.parameters.find(operand.name); own != frame.parameters.end()) return own->second;
    if (const auto global = addresses_.find(operand.name); global != addresses_.end()) return global->second;
    for (const Variable& variable : module_.variables)
      if (variable.name == operand.name && variable.space == Space::kShared) return storage_.shared(variable);
    fail(in, fmt::format("names '{}', which nothing defines", operand.name));
  }

  // What an address operand means, from the instruction and from what it names.
  Space space_of(const FunctionFrame& frame, const Instruction& in, const Operand& operand) const {
    if (operand.kind == Operand::Kind::kVariable) {
      const Space space = frame.function.variables[static_cast<size_t>(operand.index)].space;
      return space == Space::kParam ? Space::kLocal : space;  // what is passed to a function lies in local memory
    }
    if (frame.parameters.contains(operand.name)) return frame.function.entry ? Space::kParam : Space::kLocal;
    for (const Space space : {Space::kGlobal, Space::kConst, Space::kShared, Space::kLocal, Space::kParam})
      if (in.has(name_of(space)) || (space == Space::kShared && in.has("shared::cta"))) return space;
    return Space::kGeneric;
  }

  // Three operations: the arguments are copied to where the callee reads them, the lanes go there, and when they have
  // come back the results are copied.
  void add_call(const FunctionFrame& frame, const Instruction& in) {
    const Call call = parts_of_call(in);
    Op arguments = begin(frame, in), jump = arguments, results = arguments;
    if (call.callee == kAssertFail) {
      arguments.run = assert_failed;
      arguments.target = add_copies(frame, in, call.arguments, nullptr, true);
      finish(std::move(arguments), {});
      return;
    }
    const FunctionFrame& callee = frames_.at(call.callee);
    if (call.arguments.size() != callee.function.parameters.size() ||
        call.results.size() != callee.function.results.size())
      fail(in, "does not pass what " + call.callee + " takes");
    arguments.run = results.run = copy_parameters;
    arguments.target = add_copies(frame, in, call.arguments, &callee, true);
    results.target = add_copies(frame, in, call.results, &callee, false);
    jump.control = Control::kCall;
    arguments.line = results.line = 0;  // counted once
    finish(std::move(arguments), {});
    calls_.emplace_back(program_.code.size(), call.callee);
    finish(std::move(jump), {callee.link});
    finish(std::move(results), {});
  }

  uint32_t add_copies(const FunctionFrame& frame, const Instruction& in, const std::vector<Operand>& passed,
                      const FunctionFrame* callee, bool into) {
    std::vector<LocalCopy> copies;
    for (size_t i = 0; i < passed.size(); ++i) {
      if (passed[i].kind != Operand::Kind::kVariable) fail(in, "passes something other than a .param variable");
      const auto index = static_cast<size_t>(passed[i].index);
      const uint32_t here = frame.variables[index], bytes = static_cast<uint32_t>(frame.function.variables[index].size);
      uint32_t there = here;
      if (callee != nullptr) {
        const Variable& formal = into ? callee->function.parameters[i] : callee->function.results[i];
        if (formal.size != bytes) fail(in, "passes an argument of another size");
        there = callee->parameters.at(formal.name);
      }
      copies.push_back(into ? LocalCopy{here, there, bytes} : LocalCopy{there, here, bytes});
    }
    program_.copies.push_back(std::move(copies));
    return static_cast<uint32_t>(program_.copies.size() - 1);
  }

  [[noreturn]] void fail(const Instruction& in, const std::string& complaint) const {
    throw PtxError(fmt::format("kernel {}, PTX line {}: {} {}", kernel_.name, in.line, in.text(), complaint));
  }

  const Module& module_;
  const Function& kernel_;
  const std::map<std::string, uint64_t>& addresses_;
  Program program_;
  Storage storage_;
  std::map<std::string, FunctionFrame> frames_;
  std::vector<std::pair<size_t, std::string>> calls_;  // op and whom it calls
  std::vector<size_t> first_slot_, table_branches_;
};

}  // namespace

Program decode(const Module& module, const Function& kernel, const std::map<std::string, uint64_t>& addresses) {
  return Decoder(module, kernel, addresses).run();
}

std::string Program::source_of(const Op& op) const {
  const auto file = files.find(op.source.file);
  return file == files.end() || op.source.line == 0 ? "" : fmt::format("{}:{}", file->second, op.source.line);
}

}  // namespace annulus::cudasim
