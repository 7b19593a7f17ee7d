#pragma once

#include <cstdint>

namespace annulus::cudasim {

/// What a location remembers of an access to it. Strong are volatile, relaxed, acquire and release accesses; an atomic
/// reads and writes.
enum class AccessClass : uint8_t { kRead, kWrite, kStrongRead, kStrongWrite, kAtomic };

/// An access: which operation, and who in it at what time of theirs. The actors of a block are its threads, and behind
/// them the asynchronous copies of each; those of a thread are numbered from 1, which is their time.
struct Epoch {
  uint32_t operation = 0;  // 0: none
  uint32_t block = 0;
  uint32_t time = 0;
  uint32_t instruction = 0;  // index in the operation's program
  uint16_t actor = 0;
  AccessClass access = AccessClass::kRead;
  bool narrow = false;  // strong for the threads of its block alone

  bool strong() const { return access >= AccessClass::kStrongRead; }
  bool reads() const { return access == AccessClass::kRead || access == AccessClass::kStrongRead; }
};

/// Two strong accesses are ordered by the hardware, if each is strong for the other's thread.
inline bool morally_strong(const Epoch& a, const Epoch& b) {
  const bool one_block = a.operation == b.operation && a.block == b.block;
  return a.strong() && b.strong() && (one_block || (!a.narrow && !b.narrow));
}

}  // namespace annulus::cudasim
