#include "tests/cudasim/ptx/register_places.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>

namespace annulus::cudasim {
namespace {

// Instructions that write the whole of their first operand (and of q in p|q) and do not read it. For any other the
// first operand counts as read, which is never wrong: it only keeps a place occupied for longer.
constexpr std::array<std::string_view, 66> kWriters{
    "abs",      "activemask", "add",      "addc", "and",   "atom", "bfe",   "bfi",       "bfind",     "bmsk",  "brev",
    "clz",      "cnot",       "copysign", "cos",  "cvt",   "cvta", "div",   "dp2a",      "dp4a",      "ex2",   "fma",
    "isspacep", "ld",         "ldmatrix", "ldu",  "lg2",   "lop3", "mad",   "mad24",     "madc",      "match", "max",
    "min",      "mma",        "mov",      "mul",  "mul24", "neg",  "not",   "or",        "popc",      "prmt",  "rcp",
    "redux",    "rem",        "rsqrt",    "sad",  "selp",  "set",  "setp",  "shf",       "shfl",      "shl",   "shr",
    "sin",      "slct",       "sqrt",     "sub",  "subc",  "tanh", "testp", "vabsdiff2", "vabsdiff4", "vote",  "xor"};

bool writes_first(const Instruction& in) {
  return std::find(kWriters.begin(), kWriters.end(), in.opcode) != kWriters.end();
}

template <class F>
void each_register(const Operand& operand, F f) {
  for (const Operand& part : operand.parts) each_register(part, f);
  if (operand.kind == Operand::Kind::kRegister) f(static_cast<size_t>(operand.index));
  if (operand.second >= 0) f(static_cast<size_t>(operand.second));
}

/// A set of registers.
class Registers {
 public:
  explicit Registers(size_t count) : words_((count + 63) / 64) {}
  void add(size_t index) { words_[index / 64] |= bit(index); }
  void remove(size_t index) { words_[index / 64] &= ~bit(index); }
  bool has(size_t index) const { return (words_[index / 64] & bit(index)) != 0; }
  /// Whether that made a difference.
  bool add(const Registers& others) {
    uint64_t fresh = 0;
    for (size_t i = 0; i < words_.size(); ++i) {
      fresh |= others.words_[i] & ~words_[i];
      words_[i] |= others.words_[i];
    }
    return fresh != 0;
  }
  bool add_without(const Registers& others, const Registers& but) {
    uint64_t fresh = 0;
    for (size_t i = 0; i < words_.size(); ++i) {
      const uint64_t added = others.words_[i] & ~but.words_[i] & ~words_[i];
      fresh |= added;
      words_[i] |= added;
    }
    return fresh != 0;
  }

 private:
  static uint64_t bit(size_t index) { return uint64_t{1} << index % 64; }
  std::vector<uint64_t> words_;
};

/// Instructions that run one after the other.
struct Straight {
  Straight(int first_one, int past_last, size_t registers)
      : first(first_one), end(past_last), written(registers), before(registers), after(registers) {}
  int first, end;
  std::vector<int> next;    // where lanes may go on: instructions, each the first of one of these
  Registers written;        // by every lane that comes here
  Registers before, after;  // wanted
};

// What may run after instruction `at`, and nothing where that is only the following one.
std::vector<int> targets_of(const Function& function, int at) {
  const Instruction& in = function.code[static_cast<size_t>(at)];
  std::vector<int> targets;
  if (in.guard >= 0) targets.push_back(at + 1);
  for (const Operand& operand : in.operands) {
    if (operand.kind != Operand::Kind::kLabel) continue;
    if (in.opcode != "brx")
      targets.push_back(operand.index);
    else
      for (const int target : function.branch_tables[static_cast<size_t>(operand.index)]) targets.push_back(target);
  }
  return targets;
}

bool turns(const Instruction& in) {
  return in.opcode == "bra" || in.opcode == "brx" || in.opcode == "ret" || in.opcode == "exit";
}

std::vector<Straight> straights_of(const Function& function) {
  const int size = static_cast<int>(function.code.size());
  std::vector<bool> begins(function.code.size() + 1);
  begins[0] = true;
  for (int at = 0; at < size; ++at) {
    if (!turns(function.code[static_cast<size_t>(at)])) continue;
    begins[static_cast<size_t>(at) + 1] = true;
    for (const int target : targets_of(function, at)) begins[static_cast<size_t>(target)] = true;
  }
  std::vector<Straight> all;
  for (int first = 0; first < size;) {
    int end = first + 1;
    while (end < size && !begins[static_cast<size_t>(end)]) ++end;
    Straight& made = all.emplace_back(first, end, function.registers.size());
    made.next = turns(function.code[static_cast<size_t>(end) - 1]) ? targets_of(function, end - 1) : std::vector{end};
    first = end;
  }
  return all;
}

// What the stretch reads before it writes it, and what it writes.
void look_inside(const Function& function, Straight& straight) {
  for (int at = straight.end - 1; at >= straight.first; --at) {
    const Instruction& in = function.code[static_cast<size_t>(at)];
    const bool writes = writes_first(in);
    // Under a guard some lanes keep the value that was there.
    if (writes && in.guard < 0 && !in.operands.empty())
      each_register(in.operands[0], [&](size_t index) {
        straight.written.add(index);
        straight.before.remove(index);
      });
    for (size_t i = writes ? 1 : 0; i < in.operands.size(); ++i)
      each_register(in.operands[i], [&](size_t index) { straight.before.add(index); });
    if (in.guard >= 0) straight.before.add(static_cast<size_t>(in.guard));
  }
}

// Backwards along every way until nothing changes.
void spread(std::vector<Straight>& all) {
  const auto starting_at = [&](int first) {
    return std::lower_bound(all.begin(), all.end(), first,
                            [](const Straight& straight, int at) { return straight.first < at; });
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto straight = all.rbegin(); straight != all.rend(); ++straight) {
      for (const int first : straight->next)
        if (const auto next = starting_at(first); next != all.end()) straight->after.add(next->before);
      changed |= straight->before.add_without(straight->after, straight->written);
    }
  }
}

void extend(LiveRange& range, int at) {
  const bool fresh = range.last < range.first;
  range.first = fresh ? at : std::min(range.first, at);
  range.last = fresh ? at : std::max(range.last, at);
}

int words_of(Type type) { return type == Type::kPred ? 0 : size_of(type) == 8 ? 2 : 1; }

}  // namespace

std::vector<LiveRange> live_ranges(const Function& function) {
  std::vector<Straight> all = straights_of(function);
  for (Straight& straight : all) look_inside(function, straight);
  spread(all);
  std::vector<LiveRange> ranges(function.registers.size());
  for (const Straight& straight : all) {
    for (size_t index = 0; index < ranges.size(); ++index) {
      if (straight.before.has(index)) extend(ranges[index], straight.first);
      if (straight.after.has(index)) extend(ranges[index], straight.end - 1);
    }
    for (int at = straight.first; at < straight.end; ++at) {
      const Instruction& in = function.code[static_cast<size_t>(at)];
      for (const Operand& operand : in.operands)
        each_register(operand, [&](size_t index) { extend(ranges[index], at); });
      if (in.guard >= 0) extend(ranges[static_cast<size_t>(in.guard)], at);
    }
  }
  return ranges;
}

std::vector<uint32_t> place_registers(const Function& function, Storage& storage) {
  const std::vector<LiveRange> ranges = live_ranges(function);
  std::vector<size_t> order(ranges.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ranges[a].first < ranges[b].first; });
  struct Place {
    uint32_t at;
    int busy_until;
  };
  std::vector<Place> places[3];  // by words per lane
  std::vector<uint32_t> result(ranges.size(), storage.sink());
  for (const size_t index : order) {
    const LiveRange& range = ranges[index];
    if (range.last < range.first) continue;
    const int words = words_of(function.registers[index]);
    Place* best = nullptr;  // the one used last, which is most likely still in the cache
    for (Place& place : places[words])
      if (place.busy_until < range.first && (best == nullptr || place.busy_until > best->busy_until)) best = &place;
    if (best == nullptr) best = &places[words].emplace_back(Place{storage.reserve(words), 0});
    best->busy_until = range.last;
    result[index] = best->at;
  }
  return result;
}

}  // namespace annulus::cudasim
