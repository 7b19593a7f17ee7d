#include "tests/cudasim/ptx/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace annulus::cudasim {
namespace {

// cudaMalloc promises 256 bytes; an allocation that happens to be aligned better would hide code that needs more.
constexpr uint64_t kFirstByte = 256;

}  // namespace

Region::Region(std::string region_name, uint64_t base_address, uint64_t bytes)
    : name(std::move(region_name)), base(base_address), size(bytes), data(bytes, kPoison), state(bytes, kUnwritten) {}

void Region::forget() {
  std::fill(data.begin(), data.end(), kPoison);
  for (uint8_t& one : state) one = one == kOutside ? kOutside : kUnwritten;
}

uint64_t Memory::allocate(uint64_t bytes, const std::string& name, int device) {
  const uint64_t slot = regions_.size();
  if (kGlobalWindow + ((slot + 1) << kSlotBits) > kSharedWindow)
    throw std::length_error("a simulated device gives out 65536 allocations in its life, and this is one more");
  regions_.push_back(std::make_unique<Region>(name, kGlobalWindow + (slot << kSlotBits) + kFirstByte, bytes));
  regions_.back()->device = device;
  return regions_.back()->base;
}

void Memory::release(uint64_t address) {
  Region* region = find(address);
  if (region == nullptr || region->base != address || !region->live)
    throw std::out_of_range(fmt::format("free of {:#x}, which is {}", address, describe(address)));
  region->live = false;
  region->data = {};
  region->state = {};
}

uint64_t Memory::used_bytes(int device) const {
  uint64_t sum = 0;
  for (const auto& region : regions_) sum += region->live && region->device == device ? region->size : 0;
  return sum;
}

Region& Memory::checked(uint64_t address, uint64_t bytes, const char* what) const {
  Region* region = find(address);
  if (region == nullptr || !region->live || !region->holds(address, bytes))
    throw std::out_of_range(fmt::format("the host {} {} bytes at {:#x}: {}", what, bytes, address,
                                        describe(region == nullptr ? address : address + (bytes > 0 ? bytes - 1 : 0))));
  return *region;
}

void Memory::write(uint64_t address, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
  Region& region = checked(address, bytes, "writes");
  std::memcpy(region.data.data() + (address - region.base), from, bytes);
  std::memset(region.state.data() + (address - region.base), kWritten, bytes);
}

void Memory::read(void* to, uint64_t address, uint64_t bytes) const {
  if (bytes == 0) return;
  const Region& region = checked(address, bytes, "reads");
  const auto first = region.state.begin() + static_cast<long>(address - region.base);
  const auto odd = std::find_if(first, first + static_cast<long>(bytes), [](uint8_t one) { return one != kWritten; });
  if (odd != first + static_cast<long>(bytes))
    throw std::logic_error(
        fmt::format("the host reads {} at byte {}, which nobody wrote", region.name, odd - region.state.begin()));
  std::memcpy(to, region.data.data() + (address - region.base), bytes);
}

void Memory::copy(uint64_t to, uint64_t from, uint64_t bytes) {
  if (bytes == 0) return;
  Region &target = checked(to, bytes, "writes"), &source = checked(from, bytes, "reads");
  std::memmove(target.data.data() + (to - target.base), source.data.data() + (from - source.base), bytes);
  std::memmove(target.state.data() + (to - target.base), source.state.data() + (from - source.base), bytes);
}

std::string relation(const Region& region, uint64_t address) {
  const std::string whole = fmt::format("{} ({} bytes at {:#x})", region.name, region.size, region.base);
  if (!region.live) return "in " + region.name + ", which was freed";
  if (address < region.base) return fmt::format("{} bytes before {}", region.base - address, whole);
  const uint64_t offset = address - region.base;
  if (offset < region.size) return fmt::format("byte {} of {}", offset, whole);
  return fmt::format("{} bytes past the end of {}", offset - region.size, whole);
}

std::string Memory::describe(uint64_t address) const {
  const Region* region = find(address);
  return region == nullptr ? "not in any allocation" : relation(*region, address);
}

}  // namespace annulus::cudasim
