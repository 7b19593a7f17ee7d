#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "tests/cudasim/races/epoch.h"

namespace annulus::cudasim {

/// Accesses of one class that the next write must come after.
struct Crowd {
  std::vector<Epoch> all;
  size_t kept = 0;  // when it was last thinned out

  void clear() {
    all.clear();
    kept = 0;
  }
};

/// What strong accesses have done to a location since its last weak write.
struct StrongAccesses {
  Crowd reads;
  Crowd writes;              // atomics leave only the last of theirs, which has seen those before
  std::vector<Epoch> heard;  // each actor's first read of the last write: who comes after one comes after that write
};

/// A location's memory: its last weak write and what has come after it.
struct Cell {
  Epoch write, read;
  struct Others {
    Crowd reads;  // besides `read`
    StrongAccesses strong;
  };
  std::unique_ptr<Others> others;

  Cell() = default;
  Cell(const Cell& cell)
      : write(cell.write), read(cell.read), others(cell.others ? std::make_unique<Others>(*cell.others) : nullptr) {}
  Cell(Cell&&) = default;
  Cell& operator=(Cell&&) = default;
  Cell& operator=(const Cell& cell) { return *this = Cell(cell); }

  Others& more() {
    if (others == nullptr) others = std::make_unique<Others>();
    return *others;
  }
};

/// The cells of a stretch of memory: one for each sixteen bytes until somebody accesses fewer, then one for each so
/// many.
class Shadow {
 public:
  explicit Shadow(uint64_t bytes) : cells_((bytes + kWidest - 1) / kWidest), bytes_(bytes) {}

  /// visit(cell, offset) for each cell of these bytes.
  template <class Visit>
  void each(uint64_t offset, uint64_t bytes, Visit visit) {
    const uint64_t end = offset + bytes;
    if (((offset | bytes) & (width_ - 1)) != 0 && !(end == bytes_ && offset % width_ == 0)) split(offset | bytes);
    for (uint64_t at = offset; at < end; at += width_) visit(cells_[at / width_], at);
  }

 private:
  static constexpr uint64_t kWidest = 16;
  void split(uint64_t multiple);

  std::vector<Cell> cells_;
  uint64_t bytes_, width_ = kWidest;
};

/// Records the access in the cell and returns one that it conflicts with and does not know of, or an epoch of no
/// operation. knows(epoch): it is ordered before the access.
template <class Knows>
Epoch record(Cell& cell, const Epoch& access, Knows knows);

namespace detail {

// Whoever knows the access knows what it knows; and of what one actor did, or from outside an operation all that it
// did, the last says as much as all.
template <class Knows>
void join(Crowd& crowd, const Epoch& access, Knows knows) {
  if (crowd.all.size() >= 2 * crowd.kept + 16) {
    std::erase_if(crowd.all, knows);
    const auto key = [&](const Epoch& e) {
      const bool now = e.operation == access.operation;
      return std::tuple(e.operation, e.narrow, now ? e.block : 0, now ? e.actor : 0);
    };
    std::reverse(crowd.all.begin(), crowd.all.end());
    std::stable_sort(crowd.all.begin(), crowd.all.end(),
                     [&](const Epoch& a, const Epoch& b) { return key(a) < key(b); });
    crowd.all.erase(std::unique(crowd.all.begin(), crowd.all.end(),
                                [&](const Epoch& a, const Epoch& b) { return key(a) == key(b); }),
                    crowd.all.end());
    crowd.kept = crowd.all.size();
  }
  crowd.all.push_back(access);
}

template <class Knows>
const Epoch* rival_in(const Crowd& crowd, const Epoch& access, Knows knows) {
  for (const Epoch& one : crowd.all)
    if (!morally_strong(one, access) && !knows(one)) return &one;
  return nullptr;
}

// Of strong writes, one that the access neither knows nor has heard of.
template <class Knows>
const Epoch* rival_write(const StrongAccesses& strong, const Epoch& access, Knows knows) {
  const Epoch* const rival = rival_in(strong.writes, access, knows);
  if (rival == nullptr || rival != &strong.writes.all.back()) return rival;
  return std::any_of(strong.heard.begin(), strong.heard.end(), knows) ? nullptr : rival;
}

template <class Knows>
const Epoch* rival_of(const Cell& cell, const Epoch& access, Knows knows) {
  if (cell.write.operation != 0 && !knows(cell.write)) return &cell.write;
  const bool reads = access.reads();
  if (!reads && cell.read.operation != 0 && !knows(cell.read)) return &cell.read;
  if (cell.others == nullptr) return nullptr;
  const StrongAccesses& strong = cell.others->strong;
  const Epoch* rival = strong.writes.all.empty() ? nullptr : rival_write(strong, access, knows);
  if (rival == nullptr && !reads) rival = rival_in(cell.others->reads, access, knows);
  if (rival == nullptr && !reads) rival = rival_in(strong.reads, access, knows);
  return rival;
}

template <class Knows>
void note_strong(StrongAccesses& strong, const Epoch& access, Knows knows) {
  if (access.access == AccessClass::kStrongRead) {
    join(strong.reads, access, knows);
    const auto same_actor = [&](const Epoch& one) {
      return one.operation == access.operation && one.block == access.block && one.actor == access.actor;
    };
    if (std::none_of(strong.heard.begin(), strong.heard.end(), same_actor)) strong.heard.push_back(access);
    return;
  }
  strong.heard.clear();
  if (access.access == AccessClass::kAtomic && !strong.writes.all.empty())
    strong.writes.all.back() = access;
  else
    join(strong.writes, access, knows);
}

}  // namespace detail

template <class Knows>
Epoch record(Cell& cell, const Epoch& access, Knows knows) {
  if (const Epoch* rival = detail::rival_of(cell, access, knows)) return *rival;
  if (access.strong()) {
    detail::note_strong(cell.more().strong, access, knows);
  } else if (access.access == AccessClass::kWrite) {
    cell.write = access;
    cell.read.operation = 0;
    if (cell.others != nullptr) {
      cell.others->reads.clear();
      cell.others->strong.reads.clear();
      cell.others->strong.writes.clear();
      cell.others->strong.heard.clear();
    }
  } else if (cell.read.operation == 0 || knows(cell.read)) {
    cell.read = access;
  } else {
    detail::join(cell.more().reads, access, knows);
  }
  return {};
}

}  // namespace annulus::cudasim
