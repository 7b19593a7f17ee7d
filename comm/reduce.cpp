#include "comm/reduce.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace annulus {
namespace {

constexpr int64_t kChunk = int64_t{1} << 18;  // floats that one rank sends another at a time

int64_t length(const FlatRange& range) { return range.end - range.begin; }

// The part of a range that moves in one round; empty behind its end.
FlatRange part_of(const FlatRange& range, int64_t round) {
  const int64_t begin = std::min(range.end, range.begin + round * kChunk);
  return {begin, std::min(range.end, begin + kChunk)};
}

// into = sum over ranks, in rank order; the own rank's addend is what `into` held before.
void add_in_rank_order(float* into, const float* scratch, int rank, int size, int64_t count) {
  constexpr int64_t kBlock = 1024;
  float sum[kBlock];
  for (int64_t at = 0; at < count; at += kBlock) {
    const int64_t n = std::min(kBlock, count - at);
    std::fill(sum, sum + n, 0.0f);
    for (int peer = 0; peer < size; ++peer) {
      const float* addend = peer == rank ? into + at : scratch + peer * kChunk + at;
      for (int64_t i = 0; i < n; ++i) sum[i] += addend[i];
    }
    std::copy(sum, sum + n, into + at);
  }
}

}  // namespace

int64_t reduce_scratch_floats(int num_ranks) { return kChunk * num_ranks; }

void reduce_scatter(float* flat, std::span<const FlatRange> ranges, Group& group, float* scratch) {
  if (group.size() == 1) return;
  int64_t longest = 0;
  for (const FlatRange& range : ranges) longest = std::max(longest, length(range));
  const auto rank = static_cast<size_t>(group.rank());
  std::vector<Group::Outgoing> sends;
  std::vector<Group::Incoming> receives;
  for (int64_t round = 0; round * kChunk < longest; ++round) {
    sends.clear();
    receives.clear();
    const FlatRange mine = part_of(ranges[rank], round);
    for (int peer = 0; peer < group.size(); ++peer) {
      if (peer == group.rank()) continue;
      const FlatRange theirs = part_of(ranges[static_cast<size_t>(peer)], round);
      if (length(theirs) > 0)
        sends.push_back({peer, flat + theirs.begin, length(theirs) * static_cast<int64_t>(sizeof(float))});
      if (length(mine) > 0)
        receives.push_back({peer, scratch + peer * kChunk, length(mine) * static_cast<int64_t>(sizeof(float))});
    }
    group.exchange(sends, receives, "the reduction of gradients");
    add_in_rank_order(flat + mine.begin, scratch, group.rank(), group.size(), length(mine));
  }
}

void all_gather(void* flat, int64_t element_bytes, std::span<const FlatRange> ranges, Group& group) {
  std::byte* bytes = static_cast<std::byte*>(flat);
  const FlatRange& mine = ranges[static_cast<size_t>(group.rank())];
  for (int distance = 1; distance < group.size(); ++distance) {
    const int to = (group.rank() + distance) % group.size();
    const int from = (group.rank() - distance + group.size()) % group.size();
    const FlatRange& theirs = ranges[static_cast<size_t>(from)];
    const Group::Outgoing send = {to, bytes + mine.begin * element_bytes, length(mine) * element_bytes};
    const Group::Incoming receive = {from, bytes + theirs.begin * element_bytes, length(theirs) * element_bytes};
    group.exchange({&send, 1}, {&receive, 1}, "the gathering of parameters");
  }
}

}  // namespace annulus
