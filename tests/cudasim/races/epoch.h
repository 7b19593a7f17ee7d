#pragma once

#include <cstdint>

namespace annulus::cudasim {

/// What a location remembers of an access to it.
enum class AccessClass : uint8_t { kRead, kWrite, kStrongRead, kStrongWrite };

/// An access: which operation, and who in it at what time of theirs. The actors of a block are its threads, and behind
/// them the asynchronous copies of each; those of a thread are numbered from 1, which is their time.
struct Epoch {
  uint32_t operation = 0;  // 0: none
  uint32_t block = 0;
  uint32_t time = 0;
  uint32_t instruction = 0;  // index in the operation's program
  uint16_t actor = 0;
  AccessClass access = AccessClass::kRead;
};

inline bool reads(AccessClass c) { return c == AccessClass::kRead || c == AccessClass::kStrongRead; }

/// Two accesses of which one writes conflict, unless both are strong: those are ordered by the hardware.
inline bool conflict(AccessClass a, AccessClass b) {
  const auto strong = [](AccessClass c) { return c == AccessClass::kStrongRead || c == AccessClass::kStrongWrite; };
  return !(reads(a) && reads(b)) && !(strong(a) && strong(b));
}

}  // namespace annulus::cudasim
