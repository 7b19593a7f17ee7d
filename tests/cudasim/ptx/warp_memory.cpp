// The memory accesses of a warp: which bytes an address means, and whether they may be accessed.

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "tests/cudasim/ptx/block.h"
#include "tests/cudasim/ptx/warp.h"

namespace annulus::cudasim {
namespace {

const char* verb(MemoryAccess::Kind kind) {
  return kind == MemoryAccess::Kind::kRead ? "reads" : kind == MemoryAccess::Kind::kWrite ? "writes" : "updates";
}

Space resolve(Space space, uint64_t& address) {
  if (space == Space::kConst) return Space::kGlobal;
  if (space != Space::kGeneric || address < kSharedWindow) return space == Space::kGeneric ? Space::kGlobal : space;
  if (address >= kParamWindow) {
    address -= kParamWindow;
    return Space::kParam;
  }
  const bool local = address >= kLocalWindow;
  address -= local ? kLocalWindow : kSharedWindow;
  return local ? Space::kLocal : Space::kShared;
}

}  // namespace

void Warp::addresses(const Op& op, int operand, LaneMask, Addresses& out) const {
  const uint32_t* at = words(op.slots[operand]);
  const auto offset = static_cast<uint64_t>(op.offset);
  if (op.wide >> operand & 1) {
    std::memcpy(out.of, at, sizeof(out.of));
    for (uint64_t& address : out.of) address += offset;
  } else {
    for (int lane = 0; lane < kLanes; ++lane) out.of[lane] = static_cast<uint32_t>(at[lane] + offset);
  }
}

Region* Warp::region_for_all(Space space, const Addresses& at, uint32_t bytes, MemoryAccess::Kind kind,
                             Addresses& offsets) const {
  Region* region = space == Space::kShared ? shared_ : nullptr;
  if (space == Space::kGlobal) {
    const LaunchState& launch = block_.launch();
    region = recent_ != nullptr && recent_->holds(at.of[0], bytes) ? recent_ : launch.memory.find(at.of[0]);
    if (region == nullptr || !region->live || (launch.options.visible_devices >> region->device & 1) == 0)
      return nullptr;
  }
  if (region == nullptr || observed_ || region->size < bytes) return nullptr;
  if (kind != MemoryAccess::Kind::kRead && !region->writable) return nullptr;
  const uint64_t base = region->base, last = region->size - bytes;
  uint64_t outside = 0, bits = 0;  // the top bit of `outside` for an offset below 0 or above `last`
  for (int lane = 0; lane < kLanes; ++lane) {
    const uint64_t offset = at.of[lane] - base;
    offsets.of[lane] = offset;
    outside |= offset | (last - offset);
    bits |= at.of[lane];
  }
  return outside >> 63 == 0 && (bits & (bytes - 1)) == 0 ? region : nullptr;
}

Bytes Warp::reach_in(const Op& op, int lane, Space named, uint64_t address, uint32_t bytes, MemoryAccess::Kind kind,
                     bool told) {
  const Space space = resolve(named, address);
  if ((address & (bytes - 1)) != 0)
    fault(FaultKind::kMisaligned, op, lane,
          fmt::format("{} {} bytes of {} memory at {:#x}, which is not a multiple of {}", verb(kind), bytes,
                      name_of(space), address, bytes));
  uint64_t offset = 0;
  Region& region = region_of(op, lane, space, address, bytes, offset);
  Bytes found{region.data.data() + offset, region.state.data() + offset};
  const bool write = kind == MemoryAccess::Kind::kWrite;
  const bool fine =
      write ? all_bytes(found.state, bytes, kInFlight, 0) : all_bytes(found.state, bytes, kOutside, kWritten);
  if (!fine) check_state(op, lane, region, offset, found.state, bytes, kind);
  if (kind != MemoryAccess::Kind::kRead && !region.writable)
    fault(FaultKind::kReadOnly, op, lane, fmt::format("writes to {}, which is constant", region.name));
  Observer* observer = block_.launch().options.observer;
  if (told && observer != nullptr && space != Space::kParam)
    observer->on_access({{block_.linear(), thread(lane)}, &op, space, address, bytes, kind});
  return found;
}

const Region& Warp::source_of_copy(const Op& op, int lane, uint64_t address, uint32_t bytes, uint64_t& offset) {
  reach_in(op, lane, Space::kGlobal, address, bytes, MemoryAccess::Kind::kRead, false);
  return region_of(op, lane, Space::kGlobal, address, bytes, offset);
}

Region& Warp::region_of(const Op& op, int lane, Space space, uint64_t address, uint32_t bytes, uint64_t& offset) {
  Region* region = nullptr;
  if (space == Space::kGlobal) {
    if (recent_ == nullptr || !recent_->holds(address, bytes)) recent_ = block_.launch().memory.find(address);
    region = recent_;
    if (region != nullptr) offset = address - region->base;
    if (region == nullptr || !region->live || !region->holds(address, bytes)) {
      recent_ = nullptr;
      out_of_bounds(op, lane, space, address, bytes);
    }
    if ((block_.launch().options.visible_devices >> region->device & 1) == 0)
      fault(FaultKind::kOutOfBounds, op, lane,
            fmt::format("accesses {} of device {}, to which it has no peer access", region->name, region->device));
    return *region;
  }
  offset = address;
  if (space == Space::kLocal) {
    if (address + bytes > program_.local_bytes || address > program_.local_bytes)
      out_of_bounds(op, lane, space, address, bytes);
    offset += uint64_t{program_.local_bytes} * static_cast<uint64_t>(lane);
    return local_;
  }
  region = space == Space::kShared ? &block_.shared() : &block_.launch().parameters;
  if (!region->holds(address, bytes)) out_of_bounds(op, lane, space, address, bytes);
  return *region;
}

const uint8_t* Warp::peek(const Op& op, int lane, uint64_t address) const {
  const Space space = resolve(op.space, address);
  if (space == Space::kLocal) {
    const uint64_t own = uint64_t{program_.local_bytes} * static_cast<uint64_t>(lane);
    return address < program_.local_bytes ? &local_.data[own + address] : nullptr;
  }
  const Region* const region = space == Space::kGlobal   ? block_.launch().memory.find(address)
                               : space == Space::kShared ? shared_
                                                         : &block_.launch().parameters;
  return region != nullptr && region->live && region->holds(address, 1) ? &region->data[address - region->base]
                                                                        : nullptr;
}

// Something is wrong with one of the bytes, or would be if these checks were on.
void Warp::check_state(const Op& op, int lane, const Region& region, uint64_t address, const uint8_t* state,
                       uint32_t bytes, MemoryAccess::Kind kind) const {
  const Options& options = block_.launch().options;
  for (uint32_t i = 0; i < bytes; ++i) {
    const std::string what =
        fmt::format("{} {} bytes of {} memory at {:#x}", verb(kind), bytes,
                    name_of(&region == &block_.shared() ? Space::kShared : op.space), region.base + address);
    if (state[i] == kOutside) out_of_bounds(op, lane, Space::kShared, address, bytes);
    if (state[i] == kInFlight && options.check_in_flight)
      fault(FaultKind::kInFlight, op, lane, what + ", to which an asynchronous copy has not been waited for");
    if (state[i] == kUnwritten && kind != MemoryAccess::Kind::kWrite && options.check_written)
      fault(FaultKind::kUninitialised, op, lane,
            fmt::format("{}, which nobody has written ({})", what,
                        &region == &block_.shared() ? block_.describe_shared(address + i)
                                                    : relation(region, region.base + address + i)));
  }
}

void Warp::out_of_bounds(const Op& op, int lane, Space space, uint64_t address, uint32_t bytes) const {
  std::string where;
  if (space == Space::kGlobal) {
    const Region* region = block_.launch().memory.find(address);
    // An access that begins inside and ends outside is described by its first byte outside.
    const bool begins_inside = region != nullptr && region->live && region->holds(address, 1);
    where = block_.launch().memory.describe(begins_inside ? region->base + region->size : address);
  } else if (space == Space::kShared) {
    where = block_.describe_shared(address);
  } else if (space == Space::kLocal) {
    where = fmt::format("a thread has {} bytes of it", program_.local_bytes);
  } else {
    where = relation(block_.launch().parameters, address);
  }
  fault(FaultKind::kOutOfBounds, op, lane,
        fmt::format("accesses {} bytes of {} memory at {:#x}: {}", bytes, name_of(space), address, where));
}

void Warp::count(const Op& op, const Addresses& at, LaneMask lanes, uint32_t bytes) {
  if (!block_.launch().options.statistics) return;
  uint64_t first = at.of[std::countr_zero(lanes)];
  const Space space = resolve(op.space, first);
  count_in(op, space, at, lanes, bytes);
}

void Warp::count_in(const Op& op, Space space, const Addresses& at, LaneMask lanes, uint32_t bytes) {
  if (!block_.launch().options.statistics) return;
  Counter& counter = counters_[static_cast<size_t>(&op - program_.code.data())];
  if (space == Space::kGlobal) count_global(counter, at.of, lanes, bytes);
  if (space == Space::kShared) count_shared(counter, at.of, lanes, bytes);
}

void Warp::copy_local(const std::vector<LocalCopy>& copies, LaneMask lanes) {
  for (LaneMask left = lanes; left != 0; left &= left - 1) {
    const uint64_t base = uint64_t{program_.local_bytes} * static_cast<uint64_t>(std::countr_zero(left));
    for (const LocalCopy& copy : copies) {
      std::memcpy(&local_.data[base + copy.to], &local_.data[base + copy.from], copy.bytes);
      std::memcpy(&local_.state[base + copy.to], &local_.state[base + copy.from], copy.bytes);
    }
  }
}

}  // namespace annulus::cudasim
