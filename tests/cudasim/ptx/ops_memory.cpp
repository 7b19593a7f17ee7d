// Loads, stores and prefetches in every space, single and as vectors.

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"

namespace annulus::cudasim {
namespace {

template <class T>
void put(Warp& warp, const Op& op, int operand, LaneMask lanes, const T* values, int stride) {
  // A register may be wider than what is loaded: signed values are extended with their sign.
  if (op.wide >> operand & 1) {
    write<uint64_t>(
        warp, op, lanes, [&](int lane) { return static_cast<uint64_t>(values[lane * stride]); }, operand);
  } else {
    write<uint32_t>(
        warp, op, lanes, [&](int lane) { return static_cast<uint32_t>(values[lane * stride]); }, operand);
  }
}

// Bytes that lie one behind the other and have nothing wrong with them, all at once: false if they are not such.
bool load_row(Warp& warp, Space space, const Addresses& at, uint32_t bytes, void* values) {
  if (!contiguous(at, bytes)) return false;
  Addresses offsets;
  const Region* region = warp.region_for_all(space, at, bytes, MemoryAccess::Kind::kRead, offsets);
  if (region == nullptr) return false;
  const uint64_t first = offsets.of[0];
  if (!all_bytes_of_row(region->state.data() + first, kLanes * bytes, kOutside, kWritten)) return false;
  std::memcpy(values, region->data.data() + first, kLanes * bytes);
  return true;
}

bool store_row(Warp& warp, Space space, const Addresses& at, uint32_t bytes, const void* values) {
  if (!contiguous(at, bytes)) return false;
  Addresses offsets;
  Region* region = warp.region_for_all(space, at, bytes, MemoryAccess::Kind::kWrite, offsets);
  if (region == nullptr) return false;
  const uint64_t first = offsets.of[0];
  if (!all_bytes_of_row(region->state.data() + first, kLanes * bytes, kInFlight, 0)) return false;
  std::memcpy(region->data.data() + first, values, kLanes * bytes);
  std::memset(region->state.data() + first, kWritten, kLanes * bytes);
  return true;
}

// The compiler said (.pragma "used_bytes_mask") that it fetches more than it wants, to fetch it at once. The bytes
// outside the mask may belong to nobody, so they are not checked; they are loaded all the same, for nvcc 13.0 was seen
// to use some that its mask leaves out.
void load_some(Warp& warp, const Op& op, int lane, uint64_t address, uint32_t size, void* values) {
  if (address % size != 0)
    warp.fault(FaultKind::kMisaligned, op, lane,
               fmt::format("reads {} bytes at {:#x}, which is not a multiple of {}", size, address, size));
  auto* const to = static_cast<uint8_t*>(values);
  for (uint32_t byte = 0; byte < size; ++byte) {
    const uint8_t* const from = (op.target >> byte & 1) != 0
                                    ? warp.reach(op, lane, address + byte, 1, MemoryAccess::Kind::kRead).data
                                    : warp.peek(op, lane, address + byte);
    to[byte] = from != nullptr ? *from : kPoison;
  }
}

// ld d.. [a]: the registers, then the address. op.target: which bytes are wanted; 0: all
template <class T, int kCount>
void load(Warp& warp, const Op& op, LaneMask lanes) {
  constexpr uint32_t kBytes = sizeof(T) * kCount;
  Addresses at;
  warp.addresses(op, kCount, lanes, at);
  warp.count(op, at, lanes, kBytes);
  alignas(64) T values[kLanes * kCount];
  if (lanes != kAllLanes || !load_row(warp, op.space, at, kBytes, values)) {
    std::memset(values, 0, sizeof(values));
    for (LaneMask left = lanes; left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      if (op.target != 0)
        load_some(warp, op, lane, at.of[lane], kBytes, values + lane * kCount);
      else
        std::memcpy(values + lane * kCount, warp.reach(op, lane, at.of[lane], kBytes, MemoryAccess::Kind::kRead).data,
                    kBytes);
    }
  }
  for (int i = 0; i < kCount; ++i) put<T>(warp, op, i, lanes, values + i, kCount);
}

template <class T, int kCount>
void take(const Warp& warp, const Op& op, int i, T (&values)[kLanes][kCount]) {
  const uint32_t* words = warp.words(op.slots[i + 1]);
  const int step = op.wide >> (i + 1) & 1 ? 2 : 1;  // a narrow value is the low end of a register
  for (int lane = 0; lane < kLanes; ++lane) {
    values[lane][i] = static_cast<T>(words[step * lane]);
    if constexpr (sizeof(T) == 8)
      if (step == 2) values[lane][i] |= static_cast<T>(words[2 * lane + 1]) << 32;
  }
}

// st [a], b..
template <class T, int kCount>
void store(Warp& warp, const Op& op, LaneMask lanes) {
  constexpr uint32_t kBytes = sizeof(T) * kCount;
  Addresses at;
  warp.addresses(op, 0, lanes, at);
  warp.count(op, at, lanes, kBytes);
  alignas(64) T values[kLanes][kCount];
  for (int i = 0; i < kCount; ++i) take<T, kCount>(warp, op, i, values);
  if (lanes == kAllLanes && store_row(warp, op.space, at, kBytes, values)) return;
  for (LaneMask left = lanes; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    const Bytes bytes = warp.reach(op, lane, at.of[lane], kBytes, MemoryAccess::Kind::kWrite);
    std::memcpy(bytes.data, values[lane], kBytes);
    set_states(bytes.state, kBytes, kWritten);
  }
}

int vector_of(const Instruction& in) { return in.has("v2") ? 2 : in.has("v4") ? 4 : 1; }

template <class T>
Handler load_of(int count) {
  if (count == 4) {
    if constexpr (sizeof(T) <= 4) return load<T, 4>;
    return nullptr;
  }
  return count == 2 ? load<T, 2> : load<T, 1>;
}
template <class T>
Handler store_of(int count) {
  if (count == 4) {
    if constexpr (sizeof(T) <= 4) return store<T, 4>;
    return nullptr;
  }
  return count == 2 ? store<T, 2> : store<T, 1>;
}

bool prepare_load(const Instruction& in, Op& op) {
  const int count = vector_of(in);
  const bool sign = is_signed_integer(in.type());
  op.target = in.used_bytes == kAllBytes ? 0 : in.used_bytes;
  switch (size_of(in.type())) {
    case 1:
      op.run = sign ? load_of<int8_t>(count) : load_of<uint8_t>(count);
      break;
    case 2:
      op.run = sign ? load_of<int16_t>(count) : load_of<uint16_t>(count);
      break;
    case 4:
      op.run = sign ? load_of<int32_t>(count) : load_of<uint32_t>(count);
      break;
    case 8:
      op.run = load_of<uint64_t>(count);
      break;
    default:
      break;
  }
  return op.run != nullptr && op.operand_count == static_cast<uint32_t>(count) + 1;
}

bool prepare_store(const Instruction& in, Op& op) {
  const int count = vector_of(in);
  switch (size_of(in.type())) {
    case 1:
      op.run = store_of<uint8_t>(count);
      break;
    case 2:
      op.run = store_of<uint16_t>(count);
      break;
    case 4:
      op.run = store_of<uint32_t>(count);
      break;
    case 8:
      op.run = store_of<uint64_t>(count);
      break;
    default:
      break;
  }
  return op.run != nullptr && op.operand_count == static_cast<uint32_t>(count) + 1;
}

bool prepare_prefetch(const Instruction&, Op& op) {
  op.run = [](Warp&, const Op&, LaneMask) {};  // a hint, which may even name memory that is not there
  return true;
}

// Where caches matter to no result: policies, hints, and orders that sequential execution keeps anyway.
constexpr std::string_view kModifiers =
    " generic global const shared shared::cta local param v2 v4 ca cg cs lu cv wb wt nc volatile weak relaxed acquire "
    "release cta gpu sys mmio L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate "
    "L2::64B L2::128B L2::256B L2::evict_last L2::evict_first L2::evict_normal ";

constexpr std::array<Family, 5> kFamilies{
    {{"ld", prepare_load, kModifiers},
     {"ldu", prepare_load, kModifiers},
     {"st", prepare_store, kModifiers},
     {"prefetch", prepare_prefetch, " global local L1 L2 L2::evict_last L2::evict_normal "},
     {"prefetchu", prepare_prefetch, " L1 "}}};

}  // namespace

std::span<const Family> memory_families() { return kFamilies; }

}  // namespace annulus::cudasim
