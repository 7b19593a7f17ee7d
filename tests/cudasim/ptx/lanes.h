#pragma once

// How handlers read and write the registers of 32 lanes. A full warp is computed by plain loops, which the compiler
// makes vector instructions of; then the lanes that take part are written.

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/cudasim/ptx/program.h"
#include "tests/cudasim/ptx/warp.h"

namespace annulus::cudasim {

/// What a register of T occupies per lane.
template <class T>
using Cell = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
using Bits = std::conditional_t<sizeof(T) == 1, uint8_t, std::conditional_t<sizeof(T) == 2, uint16_t, Cell<T>>>;

template <class T>
T from_cell(Cell<T> cell) {
  return std::bit_cast<T>(static_cast<Bits<T>>(cell));
}
template <class T>
Cell<T> to_cell(T value) {
  return std::bit_cast<Bits<T>>(value);
}

/// A register operand as 32 values.
template <class T>
struct Lanes {
  const uint32_t* words;
  T operator[](int lane) const {
    Cell<T> cell;
    std::memcpy(&cell, words + static_cast<size_t>(lane) * (sizeof(cell) / 4), sizeof(cell));
    return from_cell<T>(cell);
  }
};

template <class T>
Lanes<T> read(const Warp& warp, const Op& op, int operand) {
  return {warp.words(op.slots[operand])};
}

/// Writes the cells of the lanes that take part.
template <class C>
void store_cells(uint32_t* words, const C (&cells)[kLanes], LaneMask lanes) {
  if (lanes == kAllLanes) {
    std::memcpy(words, cells, sizeof(cells));
    return;
  }
  C merged[kLanes];
  std::memcpy(merged, words, sizeof(merged));
  for (int lane = 0; lane < kLanes; ++lane) merged[lane] = (lanes >> lane & 1) != 0 ? cells[lane] : merged[lane];
  std::memcpy(words, merged, sizeof(merged));
}

/// Operand `operand` = value(lane), computed for every lane and kept for those that take part. `value` may read what
/// the operands hold for its own lane only, for it is written while the others are still to be read.
template <class T, class Value>
void write(Warp& warp, const Op& op, LaneMask lanes, Value value, int operand = 0) {
  uint32_t* words = warp.words(op.slots[operand]);
  if (lanes == kAllLanes) {
    constexpr size_t kWords = sizeof(Cell<T>) / 4;
    // A result may lie where an operand does, lane upon lane, and nowhere else: no lane waits for another.
#pragma GCC ivdep
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const Cell<T> cell = to_cell<T>(value(static_cast<int>(lane)));
      std::memcpy(words + lane * kWords, &cell, sizeof(cell));
    }
    return;
  }
  Cell<T> cells[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) cells[lane] = to_cell<T>(value(lane));
  store_cells(words, cells, lanes);
}

/// The same into a predicate.
inline void write_predicate(Warp& warp, uint32_t slot, LaneMask lanes, LaneMask values) {
  uint32_t& word = *warp.words(slot);
  word = (word & ~lanes) | (values & lanes);
}

template <class Test>
LaneMask lanes_where(Test test) {
  LaneMask mask = 0;
  for (int lane = 0; lane < kLanes; ++lane) mask |= static_cast<LaneMask>(test(lane) ? 1 : 0) << lane;
  return mask;
}

/// d = f(a), d = f(a, b), d = f(a, b, c) for values of type T; F holds no state.
template <class T, class F>
Handler unary(F) {
  return [](Warp& warp, const Op& op, LaneMask lanes) {
    const Lanes<T> a = read<T>(warp, op, 1);
    write<T>(warp, op, lanes, [&](int lane) { return F{}(a[lane]); });
  };
}
template <class T, class F>
Handler binary(F) {
  return [](Warp& warp, const Op& op, LaneMask lanes) {
    const Lanes<T> a = read<T>(warp, op, 1), b = read<T>(warp, op, 2);
    write<T>(warp, op, lanes, [&](int lane) { return F{}(a[lane], b[lane]); });
  };
}
template <class T, class F>
Handler ternary(F) {
  return [](Warp& warp, const Op& op, LaneMask lanes) {
    const Lanes<T> a = read<T>(warp, op, 1), b = read<T>(warp, op, 2), c = read<T>(warp, op, 3);
    write<T>(warp, op, lanes, [&](int lane) { return F{}(a[lane], b[lane], c[lane]); });
  };
}

template <class T>
struct Tag {
  using type = T;
};

/// f(Tag<uint32_t>) and so on for the integer type; bits count as unsigned. A default Handler for other types.
template <class F>
Handler with_integer(Type type, F f) {
  switch (type) {
    case Type::kB16:
    case Type::kU16:
      return f(Tag<uint16_t>{});
    case Type::kS16:
      return f(Tag<int16_t>{});
    case Type::kB32:
    case Type::kU32:
      return f(Tag<uint32_t>{});
    case Type::kS32:
      return f(Tag<int32_t>{});
    case Type::kB64:
    case Type::kU64:
      return f(Tag<uint64_t>{});
    case Type::kS64:
      return f(Tag<int64_t>{});
    default:
      return nullptr;
  }
}

}  // namespace annulus::cudasim
