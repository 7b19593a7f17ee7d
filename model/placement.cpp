#include "model/placement.h"

#include <algorithm>

#include "runtime/core/error.h"

namespace annulus {
namespace {

int64_t chunk_begin(int64_t chunk, int64_t num_chunks, int64_t num_tokens) {
  return static_cast<int64_t>(static_cast<__int128>(chunk) * num_tokens / num_chunks);
}

void append_chunk(std::vector<Segment>& segments, int64_t chunk, int64_t num_chunks, int64_t num_tokens) {
  const int64_t begin = chunk_begin(chunk, num_chunks, num_tokens);
  const int64_t end = chunk_begin(chunk + 1, num_chunks, num_tokens);
  if (begin < end) segments.push_back({begin, end - begin, 1});
}

}  // namespace

Placement::Placement(std::vector<std::vector<Segment>> segments_of_rank) : segments_(std::move(segments_of_rank)) {
  invariant(!segments_.empty(), "a placement on no rank");
}

int64_t Placement::num_tokens(int rank) const {
  int64_t tokens = 0;
  for (const Segment& segment : segments(rank)) tokens += segment.count;
  return tokens;
}

int64_t Placement::num_tokens() const {
  int64_t tokens = 0;
  for (int rank = 0; rank < num_ranks(); ++rank) tokens += num_tokens(rank);
  return tokens;
}

int64_t Placement::largest() const {
  int64_t most = 0;
  for (int rank = 0; rank < num_ranks(); ++rank) most = std::max(most, num_tokens(rank));
  return most;
}

std::vector<int64_t> Placement::positions(int rank) const {
  std::vector<int64_t> positions;
  positions.reserve(static_cast<size_t>(num_tokens(rank)));
  for (const Segment& segment : segments(rank))
    for (int64_t i = 0; i < segment.count; ++i) positions.push_back(segment.begin + i * segment.stride);
  return positions;
}

Placement contiguous_placement(int64_t num_tokens, int num_ranks) {
  std::vector<std::vector<Segment>> ranks(static_cast<size_t>(num_ranks));
  for (int r = 0; r < num_ranks; ++r) append_chunk(ranks[static_cast<size_t>(r)], r, num_ranks, num_tokens);
  return Placement(std::move(ranks));
}

Placement zigzag_placement(int64_t num_tokens, int num_ranks) {
  std::vector<std::vector<Segment>> ranks(static_cast<size_t>(num_ranks));
  const int64_t num_chunks = 2 * int64_t{num_ranks};
  for (int r = 0; r < num_ranks; ++r) {
    append_chunk(ranks[static_cast<size_t>(r)], r, num_chunks, num_tokens);
    append_chunk(ranks[static_cast<size_t>(r)], num_chunks - 1 - r, num_chunks, num_tokens);
  }
  return Placement(std::move(ranks));
}

Placement striped_placement(int64_t num_tokens, int num_ranks) {
  std::vector<std::vector<Segment>> ranks(static_cast<size_t>(num_ranks));
  for (int r = 0; r < num_ranks; ++r) {
    const int64_t count = (num_tokens - r + num_ranks - 1) / num_ranks;
    if (count > 0) ranks[static_cast<size_t>(r)].push_back({r, count, num_ranks});
  }
  return Placement(std::move(ranks));
}

Placement make_placement(std::string_view kind, int64_t num_tokens, int num_ranks) {
  if (kind == "contiguous") return contiguous_placement(num_tokens, num_ranks);
  if (kind == "zigzag") return zigzag_placement(num_tokens, num_ranks);
  if (kind == "striped") return striped_placement(num_tokens, num_ranks);
  fail(ExitCode::kUsage, "unknown placement '", kind, "'; choose contiguous, zigzag or striped");
}

}  // namespace annulus
