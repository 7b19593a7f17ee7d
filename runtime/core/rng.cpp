#include "runtime/core/rng.h"

#include <cmath>
#include <numbers>

#include "runtime/core/error.h"

namespace annulus {
namespace {

// FNV-1a: only has to spread a few hundred names and seeds over 64 bits.
uint64_t hash(uint64_t seed, std::string_view name) {
  uint64_t h = 14695981039346656037ull;
  for (int byte = 0; byte < 8; ++byte) h = (h ^ ((seed >> (8 * byte)) & 0xff)) * 1099511628211ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return h;
}

double unit_interval(uint32_t high, uint32_t low) {
  const uint64_t mantissa = ((uint64_t{high} << 32) | low) >> 11;
  return static_cast<double>(mantissa) * 0x1p-53;
}

constexpr int kFeistelRounds = 6;

}  // namespace

CounterRng::CounterRng(uint64_t seed, std::string_view name) {
  const uint64_t key = hash(seed, name);
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
  stream_ = seed;
}

std::array<uint32_t, 4> CounterRng::bits(uint64_t index) const {
  constexpr uint32_t kMultiplierA = 0xD2511F53, kMultiplierB = 0xCD9E8D57;  // constants of the paper
  constexpr uint32_t kWeylA = 0x9E3779B9, kWeylB = 0xBB67AE85;
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                               static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)};
  uint32_t key_a = key_[0], key_b = key_[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{kMultiplierA} * c[0], b = uint64_t{kMultiplierB} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key_a, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ key_b, static_cast<uint32_t>(a)};
    key_a += kWeylA;
    key_b += kWeylB;
  }
  return c;
}

double CounterRng::uniform(uint64_t index) const {
  const auto b = bits(index);
  return unit_interval(b[0], b[1]);
}

uint64_t CounterRng::below(uint64_t index, uint64_t bound) const {
  const auto b = bits(index);
  const unsigned __int128 product = static_cast<unsigned __int128>((uint64_t{b[0]} << 32) | b[1]) * bound;
  return static_cast<uint64_t>(product >> 64);
}

double CounterRng::normal(uint64_t index) const {
  const auto b = bits(index);
  const double u = 1.0 - unit_interval(b[0], b[1]);  // in (0, 1]: its logarithm is finite
  const double v = unit_interval(b[2], b[3]);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

Permutation::Permutation(const CounterRng& rng, uint64_t size) : rng_(rng), size_(size), half_bits_(1) {
  invariant(size > 0, "a permutation of nothing");
  while ((uint64_t{1} << (2 * half_bits_)) < size) ++half_bits_;
}

uint64_t Permutation::encrypt(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_, right = value & mask;
  for (int round = 0; round < kFeistelRounds; ++round) {
    const uint64_t mixed = rng_.bits((uint64_t(round) << 40) | right)[0] & mask;
    const uint64_t next = left ^ mixed;
    left = right;
    right = next;
  }
  return (left << half_bits_) | right;
}

uint64_t Permutation::operator()(uint64_t index) const {
  uint64_t value = index;
  do value = encrypt(value);
  while (value >= size_);  // fewer than four walks on average: the domain is less than 4 * size
  return value;
}

}  // namespace annulus
