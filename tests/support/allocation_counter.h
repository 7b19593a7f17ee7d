#pragma once
// Counts what the whole program takes from the heap. Link allocation_counter.cpp: it replaces malloc and its relatives.
#include <cstdint>

namespace annulus::test {

constexpr int64_t kLargeAllocation = 4096;  // bytes from which on an allocation counts as large

/// Large allocations since the program began, by all threads.
int64_t num_large_allocations();

/// Bytes that are allocated now.
int64_t heap_in_use();

}  // namespace annulus::test
