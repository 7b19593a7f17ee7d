#include "runtime/core/arena.h"

#include <sys/mman.h>

#include <algorithm>

namespace annulus {
namespace {

constexpr int64_t kAlignment = 64;  // a cache line, and a 512-bit vector
constexpr int64_t kPage = 4096;

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

Arena::~Arena() {
  if (memory_) munmap(memory_, static_cast<size_t>(capacity_));
}

TensorView Arena::take(Shape shape, Dtype dtype) {
  const int64_t bytes = round_up(shape.numel() * size_of(dtype), kAlignment);
  const int64_t begin = used_;
  used_ += bytes;
  high_water_ = std::max(high_water_, used_);
  if (measuring()) return TensorView(nullptr, dtype, shape, Device::kShape);
  invariant(used_ <= capacity_, "arena '", category_, "' was measured at ", capacity_, " bytes but ", used_,
            " are asked for");
  return TensorView(memory_ + begin, dtype, shape);
}

void Arena::commit() {
  invariant(measuring(), "arena '", category_, "' is committed twice");
  invariant(used_ == 0, "arena '", category_, "' is committed while something is taken");
  capacity_ = round_up(std::max<int64_t>(high_water_, 1), kPage);
  void* memory = mmap(nullptr, static_cast<size_t>(capacity_), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(ExitCode::kMemory, memory != MAP_FAILED, "no memory for ", category_, ": ", capacity_,
          " bytes; use more ranks, a smaller micro-batch or a shorter sequence");
  madvise(memory, static_cast<size_t>(capacity_), MADV_HUGEPAGE);  // a hint: fewer TLB misses where it is granted
  memory_ = static_cast<char*>(memory);
}

}  // namespace annulus
