#include "tests/cudasim/races/shadow.h"

#include <bit>

namespace annulus::cudasim {

// Into cells of the widest power of two that divides this; each begins with what its bytes have seen so far.
void Shadow::split(uint64_t multiple) {
  const uint64_t narrow = std::min(width_, uint64_t{1} << std::countr_zero(multiple));
  std::vector<Cell> cells;
  cells.reserve((bytes_ + narrow - 1) / narrow);
  for (uint64_t at = 0; at < bytes_; at += narrow) cells.push_back(cells_[at / width_]);
  cells_ = std::move(cells);
  width_ = narrow;
}

}  // namespace annulus::cudasim
