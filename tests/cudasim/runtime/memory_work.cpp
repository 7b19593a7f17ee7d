#include "tests/cudasim/runtime/memory_work.h"

#include <fmt/format.h>

#include <cstring>

#include "tests/cudasim/runtime/calls.h"

namespace annulus::cudasim {
namespace {

const void* pointer(uint64_t address) { return reinterpret_cast<const void*>(address); }

void touch(Simulation& simulation, uint64_t address, uint64_t bytes, MemoryAccess::Kind kind) {
  if (RaceDetector* races = simulation.races()) races->touch(address, bytes, kind);
}

}  // namespace

std::string describe_bytes(const Memory& memory, uint64_t address, uint64_t bytes) {
  if (!on_device(pointer(address))) return fmt::format("{} bytes of the host", bytes);
  const Region* region = memory.find(address);
  return fmt::format("{} bytes of {}", bytes, region == nullptr ? "nothing" : region->name);
}

void transfer(Simulation& simulation, uint64_t to, uint64_t from, uint64_t bytes) {
  if (bytes == 0) return;
  Memory& memory = simulation.memory();
  const bool to_device = on_device(pointer(to)), from_device = on_device(pointer(from));
  if (from_device) memory.check(from, bytes, "reads");
  if (to_device) memory.check(to, bytes, "writes");
  if (from_device) touch(simulation, from, bytes, MemoryAccess::Kind::kRead);
  if (to_device) touch(simulation, to, bytes, MemoryAccess::Kind::kWrite);
  if (to_device && from_device)
    memory.copy(to, from, bytes);
  else if (to_device)
    memory.write(to, pointer(from), bytes);
  else if (from_device)
    memory.read(reinterpret_cast<void*>(to), from, bytes);
  else
    std::memmove(reinterpret_cast<void*>(to), pointer(from), bytes);
}

CopyWork::CopyWork(Plane to, Plane from, uint64_t width, uint64_t rows)
    : Work(""), to_(to), from_(from), width_(width), rows_(rows) {
  const Memory& memory = Simulation::current().memory();
  name = fmt::format("copy of {} to {}", describe_bytes(memory, from.address, width * rows),
                     describe_bytes(memory, to.address, width * rows));
}

bool CopyWork::step(Simulation& simulation, Stream& stream) {
  simulation.begin(stream, *this);
  for (uint64_t row = 0; row < rows_; ++row)
    transfer(simulation, to_.address + row * to_.pitch, from_.address + row * from_.pitch, width_);
  return true;
}

FillWork::FillWork(uint64_t to, uint8_t value, uint64_t bytes)
    : Work("fill of " + describe_bytes(Simulation::current().memory(), to, bytes)),
      to_(to),
      bytes_(bytes),
      value_(value) {}

bool FillWork::step(Simulation& simulation, Stream& stream) {
  simulation.begin(stream, *this);
  if (!on_device(pointer(to_))) {
    std::memset(reinterpret_cast<void*>(to_), value_, bytes_);
    return true;
  }
  if (bytes_ == 0) return true;
  simulation.memory().check(to_, bytes_, "fills");
  touch(simulation, to_, bytes_, MemoryAccess::Kind::kWrite);
  simulation.memory().write(to_, std::vector<uint8_t>(bytes_, value_).data(), bytes_);
  return true;
}

bool Moment::step(Simulation& simulation, Stream& stream) {
  simulation.begin(stream, *this);
  if (action_) action_(simulation);
  return true;
}

}  // namespace annulus::cudasim
