#include "tests/cudasim/races/shadow.h"

namespace annulus::cudasim {

void Shadow::split() {
  std::vector<Cell> bytes;
  bytes.reserve(cells_.size() * kWord);
  for (const Cell& cell : cells_) bytes.insert(bytes.end(), kWord, cell);
  cells_ = std::move(bytes);
  bytewise_ = true;
}

}  // namespace annulus::cudasim
