#include "tests/support/allocation_counter.h"

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);
}

namespace annulus::test {
namespace {

std::atomic<int64_t> large{0}, in_use{0};

void* counted(void* memory) {
  if (!memory) return memory;
  const auto bytes = static_cast<int64_t>(malloc_usable_size(memory));
  if (bytes >= kLargeAllocation) large.fetch_add(1, std::memory_order_relaxed);
  in_use.fetch_add(bytes, std::memory_order_relaxed);
  return memory;
}

void forget(void* memory) {
  if (memory) in_use.fetch_sub(static_cast<int64_t>(malloc_usable_size(memory)), std::memory_order_relaxed);
}

}  // namespace

int64_t num_large_allocations() { return large.load(); }
int64_t heap_in_use() { return in_use.load(); }

}  // namespace annulus::test

using annulus::test::counted;
using annulus::test::forget;

extern "C" {

void* malloc(size_t bytes) { return counted(__libc_malloc(bytes)); }
void* calloc(size_t count, size_t bytes) { return counted(__libc_calloc(count, bytes)); }
void* memalign(size_t alignment, size_t bytes) { return counted(__libc_memalign(alignment, bytes)); }
void* aligned_alloc(size_t alignment, size_t bytes) { return counted(__libc_memalign(alignment, bytes)); }

void* realloc(void* memory, size_t bytes) {
  forget(memory);
  return counted(__libc_realloc(memory, bytes));
}

int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  *memory = counted(__libc_memalign(alignment, bytes));
  return *memory || bytes == 0 ? 0 : ENOMEM;
}

void free(void* memory) {
  forget(memory);
  __libc_free(memory);
}
}
