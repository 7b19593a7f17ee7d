#pragma once
// Sums and copies of flat buffers that every rank holds whole and of which each owns a range.
#include <cstdint>
#include <span>

#include "comm/group.h"

namespace annulus {

/// Elements [begin, end) of a flat buffer.
struct FlatRange {
  int64_t begin, end;
};

/// Floats of scratch memory that reduce_scatter() needs.
int64_t reduce_scratch_floats(int num_ranks);

/// Collective: adds every rank's `flat` over ranges[rank] into the own one, in rank order (0 + 1 + 2 ...), so that the
/// bits do not depend on which rank owns what. Other ranges keep this rank's own values. Sends (P-1)/P of the buffer.
void reduce_scatter(float* flat, std::span<const FlatRange> ranges, Group& group, float* scratch);

/// Collective: every rank's range of `flat`, of elements of so many bytes, becomes what its owner holds there.
void all_gather(void* flat, int64_t element_bytes, std::span<const FlatRange> ranges, Group& group);

}  // namespace annulus
