#pragma once
// Counter-based random numbers: a draw depends on (seed, name, index) alone, so it is the same on every rank, for any
// number of ranks and in any order. Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
#include <array>
#include <cstdint>
#include <string_view>

namespace annulus {

class CounterRng {
 public:
  CounterRng(uint64_t seed, std::string_view name);

  std::array<uint32_t, 4> bits(uint64_t index) const;

  /// In [0, 1), 53 random bits.
  double uniform(uint64_t index) const;

  /// In [0, bound), bound > 0; the bias is below 2^-64 * bound.
  uint64_t below(uint64_t index, uint64_t bound) const;

  /// Standard normal (Box-Muller).
  double normal(uint64_t index) const;

 private:
  std::array<uint32_t, 2> key_;
  uint64_t stream_;
};

/// A permutation of 0..size-1 that is evaluated at one index at a time: a Feistel network keyed by `rng`, walked until
/// the value falls inside (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
class Permutation {
 public:
  Permutation(const CounterRng& rng, uint64_t size);
  uint64_t operator()(uint64_t index) const;

 private:
  uint64_t encrypt(uint64_t value) const;

  CounterRng rng_;
  uint64_t size_;
  int half_bits_;
};

}  // namespace annulus
