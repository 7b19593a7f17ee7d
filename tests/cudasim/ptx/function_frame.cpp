#include "tests/cudasim/ptx/function_frame.h"

#include <algorithm>

#include "tests/cudasim/ptx/register_places.h"

namespace annulus::cudasim {
namespace {

constexpr uint32_t kSharedGap = 128;  // keeps every variable's banks as if it stood alone

uint64_t round_up(uint64_t value, uint64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

Storage::Storage(Program& program) : program_(program), sink_(0) {
  program_.file_words = 0;
  constant(~uint64_t{0}, 0);  // place 0: the guard of what has none
  sink_ = reserve(2);
}

uint32_t Storage::reserve(int words_per_lane) {
  const uint32_t words =
      words_per_lane == 0 ? 2 : static_cast<uint32_t>(words_per_lane * kLanes);  // 2 keeps 8-byte alignment
  program_.file_words += words;
  return program_.file_words - words;
}

uint32_t Storage::constant(uint64_t value, int words_per_lane) {
  const auto key = std::make_pair(value, words_per_lane);
  const auto known = constants_.find(key);
  if (known != constants_.end()) return known->second;
  const uint32_t slot = reserve(words_per_lane);
  program_.constants.push_back({slot, static_cast<uint32_t>(words_per_lane), value});
  constants_[key] = slot;
  return slot;
}

uint32_t Storage::special(const std::string& name) {
  const auto known = specials_.find(name);
  if (known != specials_.end()) return known->second;
  const uint32_t slot = reserve(1);
  program_.specials.emplace_back(name, slot);
  specials_[name] = slot;
  return slot;
}

uint32_t Storage::local(uint64_t size, uint64_t alignment) {
  const uint64_t at = round_up(program_.local_bytes, std::max<uint64_t>(alignment, 1));
  program_.local_bytes = static_cast<uint32_t>(round_up(at + size, 16));
  return static_cast<uint32_t>(at);
}

uint32_t Storage::shared(const Variable& variable) {
  const auto known = shared_.find(variable.name);
  if (known != shared_.end()) return known->second;
  uint32_t at = program_.shared_bytes;
  if (variable.size == 0) {
    program_.dynamic_name = variable.name;  // the launch says how long it is; every extern array starts there
  } else {
    at = static_cast<uint32_t>(round_up(at, std::max<uint64_t>(variable.alignment, kSharedGap)));
    program_.shared.push_back({variable.name, at, static_cast<uint32_t>(variable.size)});
    program_.shared_bytes = at + static_cast<uint32_t>(variable.size) + kSharedGap;
  }
  return shared_[variable.name] = at;
}

uint32_t Storage::carry() {
  if (carry_ == 0) carry_ = reserve(0);
  return carry_;
}

FunctionFrame::FunctionFrame(const Function& described, Program& program, Storage& storage) : function(described) {
  registers = place_registers(function, storage);
  for (const Variable& variable : function.variables)
    variables.push_back(variable.space == Space::kShared ? storage.shared(variable)
                                                         : storage.local(variable.size, variable.alignment));
  for (const Variable& parameter : function.parameters) {
    if (function.entry) {
      const auto at = static_cast<uint32_t>(round_up(program.parameter_bytes, parameter.alignment));
      parameters[parameter.name] = at;
      program.parameters.push_back({at, static_cast<uint32_t>(parameter.size)});
      program.parameter_bytes = at + static_cast<uint32_t>(parameter.size);
    } else {
      parameters[parameter.name] = storage.local(parameter.size, parameter.alignment);
    }
  }
  for (const Variable& result : function.results)
    parameters[result.name] = storage.local(result.size, result.alignment);
  link = storage.reserve(1);
}

}  // namespace annulus::cudasim
