#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "tests/cudasim/races/epoch.h"

namespace annulus::cudasim {

/// Reads and strong writes of one location since its last weak write, where more than one of them still matters.
struct Crowd {
  std::vector<Epoch> few;
  std::unordered_map<uint64_t, Epoch> many;  // of one operation, by actor and class
  bool many_read = true;                     // and nobody among the many writes

  void add_to_many(uint64_t key, const Epoch& epoch) {
    many[key] = epoch;
    many_read &= reads(epoch.access);
  }
};

/// A location's memory: its last weak write and what has come after it.
struct Cell {
  Epoch write, other;
  std::unique_ptr<Crowd> crowd;

  Cell() = default;
  Cell(const Cell& cell)
      : write(cell.write), other(cell.other), crowd(cell.crowd ? std::make_unique<Crowd>(*cell.crowd) : nullptr) {}
  Cell(Cell&&) = default;
  Cell& operator=(Cell&&) = default;
  Cell& operator=(const Cell& cell) { return *this = Cell(cell); }
};

/// The cells of a stretch of memory: one for each four bytes until somebody accesses fewer, then one for each.
class Shadow {
 public:
  explicit Shadow(uint64_t bytes) : cells_((bytes + kWord - 1) / kWord) {}

  void clear() { cells_.assign(cells_.size(), Cell()); }

  /// visit(cell, offset) for each cell of these bytes.
  template <class Visit>
  void each(uint64_t offset, uint64_t bytes, Visit visit) {
    if (!bytewise_ && ((offset | bytes) % kWord) != 0) split();
    const uint64_t width = bytewise_ ? 1 : kWord;
    for (uint64_t at = offset; at < offset + bytes; at += width) visit(cells_[at / width], at);
  }

 private:
  static constexpr uint64_t kWord = 4;
  void split();

  std::vector<Cell> cells_;
  bool bytewise_ = false;
};

/// Records the access in the cell and returns one that it conflicts with and does not know of, or an epoch of no
/// operation. knows(epoch): it is ordered before the access.
template <class Knows>
Epoch record(Cell& cell, const Epoch& access, Knows knows);

namespace detail {

constexpr size_t kFew = 16;

inline uint64_t key_of(const Epoch& e) {
  return (uint64_t{e.block} << 18) ^ (uint64_t{e.actor} << 2) ^ static_cast<uint64_t>(e.access);
}

// To whatever comes after, `a` says all that `b` does, if b is ordered before a.
inline bool covers(const Epoch& a, const Epoch& b) {
  return a.access == b.access || b.access == AccessClass::kStrongRead;
}

// From outside an operation all that it did with one class of access is alike.
inline void leave_operation(Crowd& crowd) {
  bool taken[4] = {};
  for (const auto& [key, epoch] : crowd.many) {
    bool& done = taken[static_cast<size_t>(epoch.access)];
    if (!done) crowd.few.push_back(epoch);
    done = true;
  }
  crowd.many.clear();
  crowd.many_read = true;
}

template <class Knows>
void join_crowd(Crowd& crowd, const Epoch& access, Knows knows) {
  if (!crowd.many.empty()) {
    if (crowd.many.begin()->second.operation == access.operation) {
      crowd.add_to_many(key_of(access), access);
      return;
    }
    leave_operation(crowd);
  }
  for (Epoch& one : crowd.few) {
    if (!covers(access, one) || !knows(one)) continue;
    one = access;
    return;
  }
  if (crowd.few.size() < kFew) {
    crowd.few.push_back(access);
    return;
  }
  std::erase_if(crowd.few, [&](const Epoch& one) {
    if (one.operation != access.operation) return false;
    crowd.add_to_many(key_of(one), one);
    return true;
  });
  crowd.add_to_many(key_of(access), access);
}

template <class Knows>
Epoch conflict_in(const Crowd& crowd, const Epoch& access, Knows knows) {
  for (const Epoch& one : crowd.few)
    if (conflict(one.access, access.access) && !knows(one)) return one;
  if (crowd.many_read && reads(access.access)) return {};
  for (const auto& [key, one] : crowd.many)
    if (conflict(one.access, access.access) && !knows(one)) return one;
  return {};
}

}  // namespace detail

template <class Knows>
Epoch record(Cell& cell, const Epoch& access, Knows knows) {
  if (cell.write.operation != 0 && !knows(cell.write)) return cell.write;
  if (cell.other.operation != 0 && conflict(cell.other.access, access.access) && !knows(cell.other)) return cell.other;
  if (cell.crowd != nullptr)
    if (const Epoch rival = detail::conflict_in(*cell.crowd, access, knows); rival.operation != 0) return rival;
  if (access.access == AccessClass::kWrite) {
    cell.write = access;
    cell.other.operation = 0;
    cell.crowd.reset();
  } else if (cell.other.operation == 0 || (detail::covers(access, cell.other) && knows(cell.other))) {
    cell.other = access;
  } else {
    if (cell.crowd == nullptr) cell.crowd = std::make_unique<Crowd>();
    detail::join_crowd(*cell.crowd, access, knows);
  }
  return {};
}

}  // namespace annulus::cudasim
