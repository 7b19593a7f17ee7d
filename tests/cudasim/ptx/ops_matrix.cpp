// ldmatrix and mma.sync: what feeds and what is the tensor core.
//
// Products of two 16-bit (or tf32) numbers are exact in f32; they are added to the accumulator one after the other, in
// order of k, each sum rounded to f32. The hardware adds several at once with a rounding of its own that nobody
// documents, so results agree with a GPU's only to the accuracy of such sums.

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"
#include "tests/cudasim/ptx/number.h"

namespace annulus::cudasim {
namespace {

constexpr int kRows = 16, kColumns = 8;  // of every shape here

// Which elements of A (16 x K) and B (K x 8) a lane's registers hold: lane = 4 * group + member.
struct Tile {
  alignas(64) float a[kRows][16], b[16][kColumns], c[kRows][kColumns];
};

float low_half(uint32_t word, bool bfloat) {
  return bfloat ? std::bit_cast<float>(word << 16) : half_to_float(static_cast<uint16_t>(word));
}
float high_half(uint32_t word, bool bfloat) {
  return bfloat ? std::bit_cast<float>(word & 0xffff0000) : half_to_float(static_cast<uint16_t>(word >> 16));
}

template <int K, bool kBfloat>
void gather_halves(const Warp& warp, const Op& op, int a, int b, Tile& tile) {
  for (int reg = 0; reg < K / 4; ++reg) {
    const Lanes<uint32_t> word = read<uint32_t>(warp, op, a + reg);
    for (int lane = 0; lane < kLanes; ++lane) {
      float* at = &tile.a[lane / 4 + 8 * (reg & 1)][2 * (lane % 4) + 8 * (reg >> 1)];
      at[0] = low_half(word[lane], kBfloat);
      at[1] = high_half(word[lane], kBfloat);
    }
  }
  for (int reg = 0; reg < K / 8; ++reg) {
    const Lanes<uint32_t> word = read<uint32_t>(warp, op, b + reg);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int k = 2 * (lane % 4) + 8 * reg;
      tile.b[k][lane / 4] = low_half(word[lane], kBfloat);
      tile.b[k + 1][lane / 4] = high_half(word[lane], kBfloat);
    }
  }
}

template <int K>
void gather_tf32(const Warp& warp, const Op& op, int a, int b, Tile& tile) {
  const auto value = [](uint32_t bits) { return std::bit_cast<float>(bits & ~uint32_t{0x1fff}); };
  for (int reg = 0; reg < K / 2; ++reg) {
    const Lanes<uint32_t> word = read<uint32_t>(warp, op, a + reg);
    for (int lane = 0; lane < kLanes; ++lane)
      tile.a[lane / 4 + 8 * (reg & 1)][lane % 4 + 4 * (reg >> 1)] = value(word[lane]);
  }
  for (int reg = 0; reg < K / 4; ++reg) {
    const Lanes<uint32_t> word = read<uint32_t>(warp, op, b + reg);
    for (int lane = 0; lane < kLanes; ++lane) tile.b[lane % 4 + 4 * reg][lane / 4] = value(word[lane]);
  }
}

// Accumulators: registers 0 and 1 hold row `group`, 2 and 3 row `group` + 8; of f16, two numbers a register.
template <bool kHalf>
void gather_c(const Warp& warp, const Op& op, int c, Tile& tile) {
  for (int i = 0; i < 4; ++i) {
    const Lanes<uint32_t> word = read<uint32_t>(warp, op, c + (kHalf ? i / 2 : i));
    for (int lane = 0; lane < kLanes; ++lane) {
      float& at = tile.c[lane / 4 + 8 * (i >> 1)][2 * (lane % 4) + (i & 1)];
      at =
          kHalf ? half_to_float(static_cast<uint16_t>(word[lane] >> (16 * (i & 1)))) : std::bit_cast<float>(word[lane]);
    }
  }
}

template <bool kHalf>
void scatter_d(Warp& warp, const Op& op, const Tile& tile, LaneMask lanes) {
  for (int i = 0; i < (kHalf ? 2 : 4); ++i) {
    write<uint32_t>(
        warp, op, lanes,
        [&](int lane) -> uint32_t {
          const float* row = tile.c[lane / 4 + 8 * (kHalf ? i : i >> 1)] + 2 * (lane % 4);
          if constexpr (kHalf)
            return static_cast<uint32_t>(narrow<Half>(static_cast<double>(row[1]))) << 16 |
                   narrow<Half>(static_cast<double>(row[0]));
          return std::bit_cast<uint32_t>(canonical(row[i & 1]));
        },
        i);
  }
}

// Eight rows at a time: their sums do not wait for one another, and fit the vector registers.
template <int K>
void multiply(Tile& tile) {
  for (int first = 0; first < kRows; first += 8) {
    float sum[8][kColumns];
    std::memcpy(sum, tile.c[first], sizeof(sum));
    for (int k = 0; k < K; ++k) {
#pragma GCC unroll 8
      for (int row = 0; row < 8; ++row)
        for (int column = 0; column < kColumns; ++column)
          sum[row][column] = std::fma(tile.a[first + row][k], tile.b[k][column], sum[row][column]);
    }
    std::memcpy(tile.c[first], sum, sizeof(sum));
  }
}

enum class Input { kHalf, kBfloat, kTf32 };

template <int K, Input kInput, bool kHalfSum>
void run_mma(Warp& warp, const Op& op, LaneMask lanes) {
  constexpr int kD = kHalfSum ? 2 : 4, kA = kInput == Input::kTf32 ? K / 2 : K / 4, kB = kA / 2;
  Tile tile;
  if constexpr (kInput == Input::kTf32)
    gather_tf32<K>(warp, op, kD, kD + kA, tile);
  else
    gather_halves<K, kInput == Input::kBfloat>(warp, op, kD, kD + kA, tile);
  gather_c<kHalfSum>(warp, op, kD + kA + kB, tile);
  multiply<K>(tile);
  scatter_d<kHalfSum>(warp, op, tile, lanes);
}

bool prepare_mma(const Instruction& in, Op& op) {
  op.control = Control::kWholeWarp;
  if (in.types.size() != 4 || in.types[1] != in.types[2] || in.types[0] != in.types[3]) return false;
  if (!in.has("row") || !in.has("col") || !in.has("sync")) return false;
  const bool half_sum = in.types[0] == Type::kF16, k16 = in.has("m16n8k16"), k8 = in.has("m16n8k8"),
             k4 = in.has("m16n8k4");
  if (!half_sum && in.types[0] != Type::kF32) return false;
  switch (in.types[1]) {
    case Type::kBf16:
      op.run = half_sum ? nullptr
               : k16    ? run_mma<16, Input::kBfloat, false>
               : k8     ? run_mma<8, Input::kBfloat, false>
                        : nullptr;
      break;
    case Type::kF16:
      if (k16) op.run = half_sum ? run_mma<16, Input::kHalf, true> : run_mma<16, Input::kHalf, false>;
      if (k8) op.run = half_sum ? run_mma<8, Input::kHalf, true> : run_mma<8, Input::kHalf, false>;
      break;
    case Type::kTf32:
      op.run = half_sum ? nullptr
               : k8     ? run_mma<8, Input::kTf32, false>
               : k4     ? run_mma<4, Input::kTf32, false>
                        : nullptr;
      break;
    default:
      break;
  }
  return op.run != nullptr;
}

// Lane 8 m + r names row r of matrix m: eight 16-bit numbers. Each lane receives two neighbours of a row; transposed,
// of a column.
template <int kMatrices, bool kTransposed>
void load_matrix(Warp& warp, const Op& op, LaneMask lanes) {
  constexpr LaneMask kAsked = kMatrices == 4 ? kAllLanes : (LaneMask{1} << 8 * kMatrices) - 1;
  Addresses at;
  warp.addresses(op, kMatrices, kAsked, at);
  warp.count(op, at, kAsked, 16);
  uint16_t element[8 * kMatrices][8];
  for (int row = 0; row < 8 * kMatrices; ++row)
    std::memcpy(element[row], warp.reach(op, row, at.of[row], 16, MemoryAccess::Kind::kRead).data, 16);
  for (int m = 0; m < kMatrices; ++m) {
    write<uint32_t>(
        warp, op, lanes,
        [&](int lane) {
          const int major = lane / 4, minor = 2 * (lane % 4);
          const uint32_t first = kTransposed ? element[8 * m + minor][major] : element[8 * m + major][minor];
          const uint32_t second = kTransposed ? element[8 * m + minor + 1][major] : element[8 * m + major][minor + 1];
          return first | second << 16;
        },
        m);
  }
}

bool prepare_ldmatrix(const Instruction& in, Op& op) {
  op.control = Control::kWholeWarp;
  const bool transposed = in.has("trans");
  if (in.has("x4")) op.run = transposed ? load_matrix<4, true> : load_matrix<4, false>;
  if (in.has("x2")) op.run = transposed ? load_matrix<2, true> : load_matrix<2, false>;
  if (in.has("x1")) op.run = transposed ? load_matrix<1, true> : load_matrix<1, false>;
  return op.run != nullptr && in.has("m8n8") && in.type() == Type::kB16;
}

constexpr std::array<Family, 2> kFamilies{
    {{"mma", prepare_mma, " sync aligned row col m16n8k16 m16n8k8 m16n8k4 "},
     {"ldmatrix", prepare_ldmatrix, " sync aligned m8n8 x1 x2 x4 trans shared shared::cta "}}};

}  // namespace

std::span<const Family> matrix_families() { return kFamilies; }

}  // namespace annulus::cudasim
