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

using Row = float __attribute__((vector_size(32)));       // of B, C and D
using Eight = uint32_t __attribute__((vector_size(32)));  // words
using Halves = uint16_t __attribute__((vector_size(16)));

// Which elements of A (16 x K), B (K x 8) and C (16 x 8) a lane's registers hold: lane = 4 * group + member. The
// columns of B and C stand in the order 0 2 4 6 1 3 5 7, which makes a row of C two registers of four lanes each.
struct Tile {
  alignas(64) float a[kRows][16];
  Row b[16], c[kRows];
};
constexpr int place_of(int column) { return column / 2 + 4 * (column & 1); }

template <class To, class From>
To same_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}
template <class T>
T load_vector(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// Four words of each of eight rows, two rows in each argument: becomes, for each of the words, rows 0 2 4 6 1 3 5 7.
void transpose(Eight (&x)[4]) {
  constexpr Eight kLow{0, 8, 1, 9, 4, 12, 5, 13}, kHigh{2, 10, 3, 11, 6, 14, 7, 15};
  constexpr Eight kFirst{0, 1, 8, 9, 4, 5, 12, 13}, kSecond{2, 3, 10, 11, 6, 7, 14, 15};
  const Eight low = __builtin_shuffle(x[0], x[1], kLow), high = __builtin_shuffle(x[0], x[1], kHigh);
  const Eight low2 = __builtin_shuffle(x[2], x[3], kLow), high2 = __builtin_shuffle(x[2], x[3], kHigh);
  x[0] = __builtin_shuffle(low, low2, kFirst), x[1] = __builtin_shuffle(low, low2, kSecond);
  x[2] = __builtin_shuffle(high, high2, kFirst), x[3] = __builtin_shuffle(high, high2, kSecond);
}

template <bool kBfloat>
Row widen_halves(const Halves& halves) {
  if constexpr (kBfloat) return same_bits<Row>(__builtin_convertvector(halves, Eight) << 16);
  Row wide;
  for (int i = 0; i < 8; ++i) wide[i] = half_to_float(halves[i]);
  return wide;
}

// The eight numbers in the low or in the high halves of these words.
template <bool kBfloat, bool kHigh>
Row widen_half_of(const Eight& words) {
  if constexpr (kBfloat) return same_bits<Row>(kHigh ? words & 0xffff0000u : words << 16);
  Row wide;
  for (int i = 0; i < 8; ++i) wide[i] = half_to_float(static_cast<uint16_t>(words[i] >> (kHigh ? 16 : 0)));
  return wide;
}

// Register `reg` of B: four words of each column, those of column 0 first.
void load_columns(const uint32_t* words, Eight (&columns)[4]) {
  for (int i = 0; i < 4; ++i) columns[i] = load_vector<Eight>(words + 8 * i);
  transpose(columns);
}

template <int K, bool kBfloat>
void gather_halves(const Warp& warp, const Op& op, int a, int b, Tile& tile) {
  for (int reg = 0; reg < K / 4; ++reg) {  // eight numbers of eight rows
    const uint32_t* words = warp.words(op.slots[a + reg]);
    for (int row = 0; row < 8; ++row) {
      const Row wide = widen_halves<kBfloat>(load_vector<Halves>(words + 4 * row));
      std::memcpy(&tile.a[row + 8 * (reg & 1)][8 * (reg >> 1)], &wide, sizeof(wide));
    }
  }
  for (int reg = 0; reg < K / 8; ++reg) {
    Eight pairs[4];
    load_columns(warp.words(op.slots[b + reg]), pairs);
    for (int i = 0; i < 4; ++i) {
      tile.b[8 * reg + 2 * i] = widen_half_of<kBfloat, false>(pairs[i]);
      tile.b[8 * reg + 2 * i + 1] = widen_half_of<kBfloat, true>(pairs[i]);
    }
  }
}

template <int K>
void gather_tf32(const Warp& warp, const Op& op, int a, int b, Tile& tile) {
  constexpr uint32_t kMask = ~uint32_t{0x1fff};
  for (int reg = 0; reg < K / 2; ++reg) {
    const Lanes<uint32_t> word = read<uint32_t>(warp, op, a + reg);
    for (int lane = 0; lane < kLanes; ++lane)
      tile.a[lane / 4 + 8 * (reg & 1)][lane % 4 + 4 * (reg >> 1)] = std::bit_cast<float>(word[lane] & kMask);
  }
  for (int reg = 0; reg < K / 4; ++reg) {
    Eight words[4];
    load_columns(warp.words(op.slots[b + reg]), words);
    for (int i = 0; i < 4; ++i) tile.b[4 * reg + i] = same_bits<Row>(words[i] & kMask);
  }
}

// Accumulators: registers 0 and 1 hold row `group`, 2 and 3 row `group` + 8; of f16, two numbers a register.
template <bool kHalf>
void gather_c(const Warp& warp, const Op& op, int c, Tile& tile) {
  for (int i = 0; i < 2; ++i) {
    const uint32_t* first = warp.words(op.slots[kHalf ? c + i : c + 2 * i]);
    const uint32_t* second = kHalf ? nullptr : warp.words(op.slots[c + 2 * i + 1]);
    for (int row = 0; row < 8; ++row) {
      float* at = reinterpret_cast<float*>(&tile.c[row + 8 * i]);
      if constexpr (!kHalf) {
        std::memcpy(at, first + 4 * row, 16);
        std::memcpy(at + 4, second + 4 * row, 16);
      } else {
        for (int column = 0; column < kColumns; ++column)
          at[place_of(column)] =
              half_to_float(static_cast<uint16_t>(first[4 * row + column / 2] >> (16 * (column & 1))));
      }
    }
  }
}

template <bool kHalf>
void scatter_d(Warp& warp, const Op& op, const Tile& tile, LaneMask lanes) {
  for (int i = 0; i < 2; ++i) {
    uint32_t cells[2][kLanes];
    for (int row = 0; row < 8; ++row) {
      const Row& sums = tile.c[row + 8 * i];
      if constexpr (!kHalf) {
        const Eight nan = Eight{} + kFloatNan, bits = sums != sums ? nan : same_bits<Eight>(sums);
        std::memcpy(&cells[0][4 * row], &bits, 16);
        std::memcpy(&cells[1][4 * row], reinterpret_cast<const uint32_t*>(&bits) + 4, 16);
      } else {
        const auto bits = [&](int place) -> uint32_t { return narrow<Half>(static_cast<double>(sums[place])); };
        for (int member = 0; member < 4; ++member) cells[0][4 * row + member] = bits(4 + member) << 16 | bits(member);
      }
    }
    store_cells(warp.words(op.slots[kHalf ? i : 2 * i]), cells[0], lanes);
    if constexpr (!kHalf) store_cells(warp.words(op.slots[2 * i + 1]), cells[1], lanes);
  }
}

// Rounded once.
inline void add_product(Row& sum, float a, const Row& b) {
#ifdef __FMA__
  sum = __builtin_ia32_vfmaddps256(Row{a, a, a, a, a, a, a, a}, b, sum);
#else
  for (int i = 0; i < kColumns; ++i) sum[i] = std::fma(a, b[i], sum[i]);
#endif
}

// Eight rows at a time: their sums do not wait for one another, and fit the vector registers.
template <int K>
void multiply(Tile& tile) {
  for (int first = 0; first < kRows; first += 8) {
    Row sum[8];
    for (int row = 0; row < 8; ++row) sum[row] = tile.c[first + row];
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
#pragma GCC unroll 8
      for (int row = 0; row < 8; ++row) add_product(sum[row], tile.a[first + row][k], tile.b[k]);
    }
    for (int row = 0; row < 8; ++row) tile.c[first + row] = sum[row];
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

// Row r of matrix m is named by lane 8 m + r; `rows` are their bytes.
template <int kMatrices>
void read_rows(Warp& warp, const Op& op, const Addresses& at, uint16_t (&rows)[8 * kMatrices][8]) {
  constexpr MemoryAccess::Kind kRead = MemoryAccess::Kind::kRead;
  Addresses offsets;
  const Region* region = kMatrices == 4 ? warp.region_for_all(op.space, at, 16, kRead, offsets) : nullptr;
  for (int row = 0; row < 8 * kMatrices; ++row) {
    const bool plain = region != nullptr && all_bytes(region->state.data() + offsets.of[row], 16, kOutside, kWritten);
    const uint8_t* data =
        plain ? region->data.data() + offsets.of[row] : warp.reach(op, row, at.of[row], 16, kRead).data;
    std::memcpy(rows[row], data, 16);
  }
}

// Eight 16-bit numbers in each of eight rows. A lane receives two neighbours of a row, as they lie there; transposed,
// of a column.
template <bool kTransposed>
void hand_out(const uint16_t (*rows)[8], uint32_t (&cells)[kLanes]) {
  if constexpr (!kTransposed) {
    std::memcpy(cells, rows, sizeof(cells));
    return;
  }
  Eight pairs[4];
  for (int i = 0; i < 4; ++i)
    pairs[i] = __builtin_convertvector(load_vector<Halves>(rows[2 * i]), Eight) |
               __builtin_convertvector(load_vector<Halves>(rows[2 * i + 1]), Eight) << 16;
  transpose(pairs);
  for (int i = 0; i < 4; ++i) {
    std::memcpy(&cells[4 * i], &pairs[i], 16);
    std::memcpy(&cells[4 * (i + 4)], reinterpret_cast<const uint32_t*>(&pairs[i]) + 4, 16);
  }
}

template <int kMatrices, bool kTransposed>
void load_matrix(Warp& warp, const Op& op, LaneMask lanes) {
  constexpr LaneMask kAsked = kMatrices == 4 ? kAllLanes : (LaneMask{1} << 8 * kMatrices) - 1;
  Addresses at;
  warp.addresses(op, kMatrices, kAsked, at);
  warp.count(op, at, kAsked, 16);
  alignas(32) uint16_t rows[8 * kMatrices][8];
  read_rows<kMatrices>(warp, op, at, rows);
  for (int m = 0; m < kMatrices; ++m) {
    uint32_t cells[kLanes];
    hand_out<kTransposed>(rows + 8 * m, cells);
    store_cells(warp.words(op.slots[m]), cells, lanes);
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
