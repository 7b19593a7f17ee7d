#pragma once

#include <cstdint>

namespace annulus::cudasim {

/// A reproducible source of choices.
class Chance {
 public:
  explicit Chance(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 0x632be59bd9b4e019) {}
  uint64_t next() {  // xorshift64*
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  uint64_t below(uint64_t end) { return (next() >> 11) % end; }

 private:
  uint64_t state_;
};

}  // namespace annulus::cudasim
