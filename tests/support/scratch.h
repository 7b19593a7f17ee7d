#pragma once
// Scratch memory for ops under test.
#include "runtime/core/arena.h"

namespace annulus::test {

/// An arena that is ready to hand out `bytes`.
class Scratch {
 public:
  explicit Scratch(int64_t bytes = int64_t{4} << 20) {
    {
      const Arena::Scope measured(arena_);
      arena_.take({bytes / 4});
    }
    arena_.commit();
  }
  operator Arena&() { return arena_; }

 private:
  Arena arena_{"scratch"};
};

}  // namespace annulus::test
