#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace annulus::cudasim {

/// What is known of one byte of memory. The values are bits so that eight bytes are tested at once.
enum ByteState : uint8_t { kUnwritten = 0, kWritten = 1, kInFlight = 2, kOutside = 3 };

/// A stretch of memory with the state of each of its bytes.
struct Region {
  std::string name;
  uint64_t base = 0;  // address of its first byte
  int device = 0;
  uint64_t size = 0;
  bool writable = true, live = true;
  std::vector<uint8_t> data, state;

  Region(std::string region_name, uint64_t base_address, uint64_t bytes);
  bool holds(uint64_t address, uint64_t bytes) const {
    return address - base <= size && bytes <= size - (address - base);
  }
  void forget();  // nobody has written it
};

namespace detail {
template <class Word>
bool each_byte(const uint8_t* state, uint32_t bytes, Word mask, Word wanted) {
  for (uint32_t at = 0; at < bytes; at += sizeof(Word)) {
    Word word;
    std::memcpy(&word, state + at, sizeof(Word));
    if ((word & mask) != wanted) return false;
  }
  return true;
}
}  // namespace detail

/// Whether `mask` of each state is `wanted`, for a number of bytes that is a power of two.
inline bool all_bytes(const uint8_t* state, uint32_t bytes, uint8_t mask, uint8_t wanted) {
  constexpr uint64_t kEach = 0x0101010101010101;
  if (bytes >= 8) return detail::each_byte<uint64_t>(state, bytes, kEach * mask, kEach * wanted);
  if (bytes == 4)
    return detail::each_byte<uint32_t>(state, bytes, static_cast<uint32_t>(kEach * mask),
                                       static_cast<uint32_t>(kEach * wanted));
  return detail::each_byte<uint8_t>(state, bytes, mask, wanted);
}

/// The same for any number of bytes that is a multiple of 32.
inline bool all_bytes_of_row(const uint8_t* state, uint32_t bytes, uint8_t mask, uint8_t wanted) {
  constexpr uint64_t kEach = 0x0101010101010101;
  const uint64_t masks = kEach * mask, right = kEach * wanted;
  uint64_t wrong = 0;
  for (uint32_t at = 0; at < bytes; at += 32) {
    uint64_t words[4];
    std::memcpy(words, state + at, sizeof(words));
    for (const uint64_t word : words) wrong |= (word & masks) ^ right;
  }
  return wrong == 0;
}

/// Sets a number of states that is a power of two, at most 16.
inline void set_states(uint8_t* state, uint32_t bytes, ByteState value) {
  const uint64_t each = uint64_t{0x0101010101010101} * value;
  if (bytes == 16) {
    std::memcpy(state, &each, 8);
    std::memcpy(state + 8, &each, 8);
  } else if (bytes == 8) {
    std::memcpy(state, &each, 8);
  } else if (bytes == 4) {
    std::memcpy(state, &each, 4);
  } else {
    std::memset(state, value, bytes);
  }
}

/// Bytes of every region that nobody wrote hold this: a NaN in every floating point format.
inline constexpr uint8_t kPoison = 0xff;

/// Where generic addresses of the small spaces begin; no address here is one of the host's.
inline constexpr uint64_t kGlobalWindow = 0x00d0'0000'0000'0000, kSharedWindow = 0x00e0'0000'0000'0000,
                          kLocalWindow = 0x00f0'0000'0000'0000, kParamWindow = 0x00f8'0000'0000'0000;

/// The memory of all devices, in one space of addresses. Each allocation lies 2^36 bytes from the next, so an index
/// that is wrong by little hits nothing, and an address that was freed is never given out again.
class Memory {
 public:
  uint64_t allocate(uint64_t bytes, const std::string& name, int device = 0);
  void release(uint64_t address);
  uint64_t used_bytes(int device) const;
  /// From and to the host. Throw std::out_of_range outside an allocation; read throws std::logic_error at bytes that
  /// nobody wrote.
  void write(uint64_t address, const void* from, uint64_t bytes);
  void read(void* to, uint64_t address, uint64_t bytes) const;
  /// Within and between devices; bytes that nobody wrote stay so.
  void copy(uint64_t to, uint64_t from, uint64_t bytes);
  /// Throws std::out_of_range where the bytes are not all of one allocation; `what` is the verb of the message.
  void check(uint64_t address, uint64_t bytes, const char* what) const { checked(address, bytes, what); }

  template <class T>
  uint64_t upload(const std::vector<T>& values, const std::string& name) {
    const uint64_t address = allocate(values.size() * sizeof(T), name);
    write(address, values.data(), values.size() * sizeof(T));
    return address;
  }
  template <class T>
  std::vector<T> download(uint64_t address, uint64_t count) const {
    std::vector<T> values(count);
    read(values.data(), address, count * sizeof(T));
    return values;
  }

  /// The allocation whose 2^36 bytes hold the address, or null.
  Region* find(uint64_t address) const {
    const uint64_t slot = slot_of(address);
    return slot < regions_.size() ? regions_[slot].get() : nullptr;
  }
  /// Allocations are numbered from 0.
  static uint64_t slot_of(uint64_t address) { return (address - kGlobalWindow) >> kSlotBits; }
  /// "4 bytes past the end of x (400 bytes at 0x...)"
  std::string describe(uint64_t address) const;

 private:
  static constexpr int kSlotBits = 36;
  Region& checked(uint64_t address, uint64_t bytes, const char* what) const;
  std::vector<std::unique_ptr<Region>> regions_;
};

/// How the address lies to the region: "4 bytes past the end of x (400 bytes at 0x...)".
std::string relation(const Region& region, uint64_t address);

}  // namespace annulus::cudasim
