#include "model/schedule.h"

#include "runtime/core/error.h"

namespace annulus {
namespace {

int64_t elements(const Schedule& schedule, int block) {
  return schedule.heads.kv_elements(schedule.num_keys[static_cast<size_t>(block)]);
}
int64_t block_bytes(const Schedule& schedule, int block) {
  return elements(schedule, block) * size_of(schedule.heads.dtype);
}
int64_t gradient_bytes(const Schedule& schedule, int block) { return elements(schedule, block) * size_of(Dtype::kF32); }

// The own block stays in buffer 0; those that arrive take buffers 1 and 2 in turn.
int arrival_buffer(int arrival) { return 1 + arrival % 2; }

void add_hop(PassPlan& plan, Payload payload, bool send, int peer, int block, int buffer, int64_t bytes, int starts,
             int needed = 0) {
  if (bytes > 0) plan.hops.push_back({payload, send, peer, block, buffer, bytes, starts, needed});
}

PassPlan forward_plan(const Schedule& schedule, int P) {
  PassPlan plan;
  const int r = schedule.rank, next = (r + 1) % P, previous = (r - 1 + P) % P;
  plan.readers_of_own = P - 1;
  for (int t = 0; t < P; ++t) {
    const int block = (r - t + P) % P, buffer = t == 0 ? 0 : arrival_buffer(t - 1);
    const bool work = !schedule.tiles[static_cast<size_t>(block)].empty();
    plan.visits.push_back({block, buffer, 0, work});
    if (t == P - 1) break;
    // While this block is computed on, it goes to the next rank and the following one arrives. Nothing has to arrive
    // before visit 0, so its hops start at once.
    const int starts = t == 0 ? -1 : t, following = (block - 1 + P) % P;
    add_hop(plan, Payload::kKeyValue, true, next, block, buffer, block_bytes(schedule, block), starts);
    add_hop(plan, Payload::kKeyValue, false, previous, following, arrival_buffer(t), block_bytes(schedule, following),
            starts, t + 1);
  }
  return plan;
}

PassPlan backward_plan(const Schedule& schedule, int P) {
  PassPlan plan;
  plan.backward = true;
  const int r = schedule.rank, next = (r + 1) % P, previous = (r - 1 + P) % P;
  plan.readers_of_own = P - 1;
  if (P > 1) {  // the first hop is prefetched: it starts when the own block is packed
    add_hop(plan, Payload::kKeyValue, true, previous, r, 0, block_bytes(schedule, r), -1);
    add_hop(plan, Payload::kKeyValue, false, next, next, arrival_buffer(0), block_bytes(schedule, next), -1, 0);
  }
  for (int t = 0; t < P; ++t) {
    const int block = (r + 1 + t) % P, buffer = t == P - 1 ? 0 : arrival_buffer(t);
    const int gradient = t % kGradientBuffers, arriving = (t + 1) % kGradientBuffers;
    const int64_t sum_bytes = gradient_bytes(schedule, block);
    const bool work = !schedule.tiles[static_cast<size_t>(block)].empty();
    plan.visits.push_back({block, buffer, gradient, work});
    if (t + 2 < P) {  // the block goes on to the previous rank, the following one arrives
      const int following = (block + 1) % P;
      add_hop(plan, Payload::kKeyValue, true, previous, block, buffer, block_bytes(schedule, block), t);
      add_hop(plan, Payload::kKeyValue, false, next, following, arrival_buffer(t + 1), block_bytes(schedule, following),
              t, t + 1);
    }
    // The sum of visits before this one arrives while this one computes; the new sum leaves under the next.
    if (t > 0) add_hop(plan, Payload::kGradient, false, next, block, arriving, sum_bytes, t, t);
    if (t + 1 < P) add_hop(plan, Payload::kGradient, true, previous, block, gradient, sum_bytes, t + 1);
  }
  return plan;
}

// Each query block starts its softmax in its first visit with work and ends it in its last; a block that sees nothing
// at all does both, empty, in the first visit.
void mark_first_and_last(Schedule& schedule) {
  const size_t num_blocks = schedule.tiles.front().blocks.size();
  for (size_t i = 0; i < num_blocks; ++i) {
    QueryBlock *first = nullptr, *last = nullptr;
    for (const PassVisit& visit : schedule.forward.visits) {
      QueryBlock& block = schedule.tiles[static_cast<size_t>(visit.block)].blocks[i];
      if (block.slice_begin == block.slice_end) continue;
      if (!first) first = &block;
      last = &block;
    }
    QueryBlock& own = schedule.tiles[static_cast<size_t>(schedule.rank)].blocks[i];
    (first ? *first : own).first = true;
    (last ? *last : own).last = true;
  }
}

}  // namespace

Schedule make_flat_ring(const Placement& queries, const Placement& keys, const Mask& mask, const RingHeads& heads,
                        int rank, int64_t rows_per_block) {
  const int P = queries.num_ranks();
  invariant(keys.num_ranks() == P && rank >= 0 && rank < P, "a ring of ", P, " ranks, keys on ", keys.num_ranks());
  Schedule schedule;
  schedule.rank = rank;
  schedule.heads = heads;
  schedule.num_queries = queries.num_tokens(rank);
  schedule.visible_pairs = visible_pairs(mask);
  for (int owner = 0; owner < P; ++owner) {
    schedule.num_keys.push_back(keys.num_tokens(owner));
    schedule.tiles.push_back(make_attention_tiles(queries.segments(rank), keys.segments(owner), mask, rows_per_block));
  }
  schedule.forward = forward_plan(schedule, P);
  schedule.backward = backward_plan(schedule, P);
  mark_first_and_last(schedule);
  return schedule;
}

}  // namespace annulus
