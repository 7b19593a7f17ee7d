#include "tests/cudasim/ptx/function_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/cudasim/ptx/block.h"
#include "tests/cudasim/ptx/fault.h"
#include "tests/cudasim/ptx/warp.h"

namespace annulus::cudasim {
namespace {

class CallGraph {
 public:
  CallGraph(const Module& module, const std::string& kernel) : module_(module), kernel_(kernel) {}

  void visit(const Function& function) {
    if (std::find(path_.begin(), path_.end(), &function) != path_.end())
      throw PtxError(fmt::format("kernel {}: {} calls itself, which is not supported", kernel_, function.name));
    if (std::find(order.begin(), order.end(), &function) == order.end()) order.push_back(&function);
    path_.push_back(&function);
    for (const Instruction& in : function.code)
      if (in.opcode == "call") follow(in);
    path_.pop_back();
  }

  std::vector<const Function*> order;

 private:
  void follow(const Instruction& in) {
    const std::string callee = parts_of_call(in).callee;
    if (callee == kAssertFail) return;
    const auto found = module_.functions.find(callee);
    if (found == module_.functions.end() || !found->second.defined)
      throw PtxError(fmt::format("kernel {}, PTX line {}: calls {}", kernel_, in.line,
                                 callee.empty() ? "through a pointer, which is not supported"
                                                : callee + ", which has no body in this module"));
    visit(found->second);
  }

  const Module& module_;
  const std::string& kernel_;
  std::vector<const Function*> path_;
};

std::string text_at(Warp& warp, const Op& op, int lane, uint64_t address) {
  std::string text;
  while (text.size() < 4096) {
    const char c = static_cast<char>(
        *warp.reach_in(op, lane, Space::kGeneric, address++, 1, MemoryAccess::Kind::kRead, false).data);
    if (c == '\0') break;
    text += c;
  }
  return text;
}

}  // namespace

Call parts_of_call(const Instruction& in) {
  Call call;
  for (const Operand& operand : in.operands) {
    if (operand.kind == Operand::Kind::kSymbol && call.callee.empty())
      call.callee = operand.name;
    else if (operand.kind == Operand::Kind::kVector)
      (call.callee.empty() ? call.results : call.arguments) = operand.parts;
  }
  return call;
}

std::vector<const Function*> call_order(const Module& module, const Function& kernel) {
  CallGraph graph(module, kernel.name);
  graph.visit(kernel);
  return graph.order;
}

std::vector<const Variable*> shared_variables(const Module& module, const std::vector<const Function*>& functions) {
  std::set<std::string> named;
  for (const Function* function : functions)
    for (const Instruction& in : function->code)
      for (const Operand& operand : in.operands)
        if (operand.kind == Operand::Kind::kSymbol) named.insert(operand.name);
  std::vector<const Variable*> found;
  for (const Variable& variable : module.variables)
    if (variable.space == Space::kShared && named.contains(variable.name)) found.push_back(&variable);
  return found;
}

void copy_parameters(Warp& warp, const Op& op, LaneMask lanes) {
  warp.copy_local(warp.block().launch().program.copies[op.target], lanes);
}

// __assertfail(condition, file, line, function, character size)
void assert_failed(Warp& warp, const Op& op, LaneMask lanes) {
  const int lane = std::countr_zero(lanes);
  const auto& copies = warp.block().launch().program.copies[op.target];
  const auto argument = [&](size_t i) {
    uint64_t value = 0;
    const uint32_t bytes = std::min(copies[i].bytes, 8u);
    std::memcpy(&value,
                warp.reach_in(op, lane, Space::kLocal, copies[i].from, bytes, MemoryAccess::Kind::kRead, false).data,
                bytes);
    return value;
  };
  const auto line = static_cast<uint32_t>(argument(2));
  warp.fault(FaultKind::kTrap, op, lane,
             fmt::format("assertion failed: {} ({}:{}, {})", text_at(warp, op, lane, argument(0)),
                         text_at(warp, op, lane, argument(1)), line, text_at(warp, op, lane, argument(3))));
}

}  // namespace annulus::cudasim
