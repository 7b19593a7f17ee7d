// Flash attention, forward, one visit: arXiv:2205.14135 with the state (unnormalised out, reference maximum, sum)
// carried from visit to visit. Lanes are queries: S^T[j][i] = k_j . q_i comes from broadcasting K, which therefore
// stays row-major as it arrived, and the softmax over j needs no sum across lanes. Scores are in units of log 2.
//
// A score that overflowed makes its row NaN. Infinity does that by itself; minus infinity would pass for a weight of 0,
// and a row of nothing else for one that sees no key: hence the products with 0 that are added to the sums.
//
// The maximum is lazy: exponentials use the last reference maximum while the product is still in registers, and a tile
// is done again in two passes only where some score exceeds the reference by more than kLazyRange. Out and sum are
// relative to the reference, so that is exact, not an approximation; it saves a pass over the scores and the rescaling
// of out.
#include <cstring>

#include "kernels/cpu/attention_calls.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/exp2.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/lanes.h"
#include "kernels/cpu/per_isa/micro_kernel.h"
#include "kernels/cpu/per_isa/pack.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

using Reg = Simd::Reg;

constexpr int64_t kKeysPerTile = 128;  // scores of a tile: 128 x 64 floats, half of a small L2
constexpr int kRegs = Simd::kRegsPerTile;
constexpr int64_t kGroup = kRegs * Simd::kLanes;  // queries that one micro-kernel call covers
constexpr float kLazyRange = 10.0f;               // exponentials stay below 2^10
constexpr float kLowest = -3.4028234663852886e38f;
static_assert(kQueryBlock % kGroup == 0);

// One (batch, head, query block) and where its parts are.
struct Item {
  const float *keys, *values;             // row 0 of this key/value head
  float *out_lanes, *maximum, *sum;       // state: (Dv, kQueryBlock), (kQueryBlock), (kQueryBlock)
  float *q_lanes, *scores;                // scratch: (Dqk, kQueryBlock), (kKeysPerTile, kQueryBlock)
  int64_t width_qk, width_v, row0, row1;  // row1: one past the last query row
};

// The keys [begin, end) as one tile for the queries of one group.
struct Tile {
  int64_t begin, end;
  const BandSlice* slice;  // nullptr: every query sees every key
};

// Hides what the mask hides; `sum` gets 0 for every score that is seen, NaN for one that is not finite.
template <bool kMasked, int kRows>
[[gnu::always_inline]] inline void take_scores(Reg (&s)[kRows][kRegs], Reg (&sum)[kRegs], const Item& item,
                                               const Tile& tile, int64_t key, int64_t group) {
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < kRegs; ++n) {
      if constexpr (kMasked) {
        const int64_t lane_row = item.row0 + group + n * Simd::kLanes;
        const Simd::Lanes seen = lanes_that_see(*tile.slice, key + m, lane_row);
        sum[n] = Simd::fma(Simd::select(seen, s[m][n], Simd::zero()), Simd::zero(), sum[n]);
        s[m][n] = Simd::select(seen, s[m][n], Simd::set1(kMinusInfinity));
      } else {
        sum[n] = Simd::fma(s[m][n], Simd::zero(), sum[n]);
      }
    }
}

// exp2(s - reference) straight out of the product. False if a score was too large for the reference: nothing was
// changed.
template <bool kMasked>
bool lazy_scores(const Item& item, const Tile& tile, int64_t group) {
  Reg reference[kRegs], largest[kRegs], sum[kRegs];
  for (int n = 0; n < kRegs; ++n) {
    reference[n] = largest[n] = Simd::load(item.maximum + group + n * Simd::kLanes);
    sum[n] = Simd::zero();
  }
  for_row_groups(tile.end - tile.begin, [&](auto rows, int64_t j) ANNULUS_ALWAYS {
    constexpr int kRows = decltype(rows)::kCount;
    const float* key = item.keys + (tile.begin + j) * item.width_qk;
    tile_product<kRows, kRegs>(key, item.width_qk, 1, item.q_lanes + group, kQueryBlock, item.width_qk,
                               [&](Reg(&s)[kRows][kRegs]) ANNULUS_ALWAYS {
                                 take_scores<kMasked>(s, sum, item, tile, tile.begin + j, group);
#pragma GCC unroll 8
                                 for (int n = 0; n < kRegs; ++n) {
#pragma GCC unroll 8
                                   for (int m = 0; m < kRows; ++m) {
                                     largest[n] = Simd::max(largest[n], s[m][n]);
                                     const Reg p = exp2(Simd::sub(s[m][n], reference[n]));
                                     sum[n] = Simd::add(sum[n], p);
                                     Simd::store(item.scores + (j + m) * kQueryBlock + group + n * Simd::kLanes, p);
                                   }
                                 }
                               });
  });
  for (int n = 0; n < kRegs; ++n)
    if (Simd::any(Simd::greater(Simd::sub(largest[n], reference[n]), Simd::set1(kLazyRange)))) return false;
  for (int n = 0; n < kRegs; ++n) {
    float* total = item.sum + group + n * Simd::kLanes;
    Simd::store(total, Simd::add(Simd::load(total), sum[n]));
  }
  return true;
}

// The two-pass form: raw scores, new maximum, exponentials. rescale[n] is what the carried out must be multiplied by.
template <bool kMasked>
void exact_scores(const Item& item, const Tile& tile, int64_t group, Reg (&rescale)[kRegs]) {
  Reg largest[kRegs], sum[kRegs];
  for (int n = 0; n < kRegs; ++n) {
    largest[n] = Simd::load(item.maximum + group + n * Simd::kLanes);
    sum[n] = Simd::zero();
  }
  for_row_groups(tile.end - tile.begin, [&](auto rows, int64_t j) ANNULUS_ALWAYS {
    constexpr int kRows = decltype(rows)::kCount;
    const float* key = item.keys + (tile.begin + j) * item.width_qk;
    tile_product<kRows, kRegs>(key, item.width_qk, 1, item.q_lanes + group, kQueryBlock, item.width_qk,
                               [&](Reg(&s)[kRows][kRegs]) ANNULUS_ALWAYS {
                                 take_scores<kMasked>(s, sum, item, tile, tile.begin + j, group);
                                 for (int m = 0; m < kRows; ++m)
                                   for (int n = 0; n < kRegs; ++n) {
                                     largest[n] = Simd::max(largest[n], s[m][n]);
                                     Simd::store(item.scores + (j + m) * kQueryBlock + group + n * Simd::kLanes,
                                                 s[m][n]);
                                   }
                               });
  });
  for (int64_t j = 0; j < tile.end - tile.begin; ++j)
    for (int n = 0; n < kRegs; ++n) {
      float* score = item.scores + j * kQueryBlock + group + n * Simd::kLanes;
      const Reg p = exp2(Simd::sub(Simd::load(score), largest[n]));
      sum[n] = Simd::add(sum[n], p);
      Simd::store(score, p);
    }
  for (int n = 0; n < kRegs; ++n) {
    float* maximum = item.maximum + group + n * Simd::kLanes;
    float* total = item.sum + group + n * Simd::kLanes;
    rescale[n] = exp2(Simd::sub(Simd::load(maximum), largest[n]));
    Simd::store(maximum, largest[n]);
    Simd::store(total, Simd::fma(Simd::load(total), rescale[n], sum[n]));
  }
}

template <bool kMasked>
void visit_tile(const Item& item, const Tile& tile, bool try_lazy) {
  for (int64_t group = 0; group < item.row1 - item.row0; group += kGroup) {
    Reg rescale[kRegs];
    for (int n = 0; n < kRegs; ++n) rescale[n] = Simd::set1(1.0f);
    if (!try_lazy || !lazy_scores<kMasked>(item, tile, group)) exact_scores<kMasked>(item, tile, group, rescale);
    for (int64_t d = 0; d < item.width_v; d += Simd::kRowsPerTile)  // out^T[d][i] += sum_j v[j][d] * p^T[j][i]
      tile_product<Simd::kRowsPerTile, kRegs>(
          item.values + tile.begin * item.width_v + d, 1, item.width_v, item.scores + group, kQueryBlock,
          tile.end - tile.begin, [&](Reg(&c)[Simd::kRowsPerTile][kRegs]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
            for (int m = 0; m < Simd::kRowsPerTile; ++m)
#pragma GCC unroll 8
              for (int n = 0; n < kRegs; ++n) {
                float* out = item.out_lanes + (d + m) * kQueryBlock + group + n * Simd::kLanes;
                Simd::store(out, Simd::fma(Simd::load(out), rescale[n], c[m][n]));
              }
          });
  }
}

void visit_keys(const Item& item, int64_t begin, int64_t end, const BandSlice* slice, bool& fresh) {
  for (int64_t key = begin; key < end; key += kKeysPerTile) {
    const Tile tile = {key, key + kKeysPerTile < end ? key + kKeysPerTile : end, slice};
    slice ? visit_tile<true>(item, tile, !fresh) : visit_tile<false>(item, tile, !fresh);
    fresh = false;
  }
}

// The keys of one slice in up to three runs: those some queries miss because of `hi`, those all see, those of `lo`.
void visit_slice(const Item& item, const BandSlice& slice, bool& fresh) {
  const KeyRuns runs = key_runs(slice, item.row0, item.row1);
  visit_keys(item, runs.begin, runs.full_begin, &slice, fresh);
  visit_keys(item, runs.full_begin, runs.full_end, nullptr, fresh);
  visit_keys(item, runs.full_end, runs.end, &slice, fresh);
}

void clear_state(const Item& item) {
  std::memset(item.out_lanes, 0, sizeof(float) * static_cast<size_t>(item.width_v * kQueryBlock));
  for (int64_t i = 0; i < kQueryBlock; ++i) {
    item.maximum[i] = kLowest;
    item.sum[i] = 0.0f;
  }
}

// Out and lse of the block; the scratch of the scores holds the reciprocal sums meanwhile.
void finish(const AttentionForwardCall& call, const Item& item, int64_t b, int64_t h) {
  const AttentionDims& n = call.dims;
  const int64_t rows = item.row1 - item.row0;
  float* maximum = call.lse + (b * n.H + h) * n.Tq + item.row0;
  float* sum = maximum + n.B * n.H * n.Tq;
  for (int64_t i = 0; i < kQueryBlock; ++i) {
    const bool sees_nothing = item.sum[i] == 0.0f;
    item.scores[i] = sees_nothing ? 0.0f : 1.0f / item.sum[i];
    if (i >= rows) continue;
    maximum[i] = item.maximum[i];
    sum[i] = item.sum[i];
  }
  float* out = call.out + ((b * n.Tq + item.row0) * n.H + h) * n.Dv;
  unpack_lanes<false>(out, n.H * n.Dv, item.out_lanes, rows, n.Dv, item.scores);
}

void forward_block(const AttentionForwardCall& call, int64_t b, int64_t h, int64_t index, float* scratch) {
  const AttentionDims& n = call.dims;
  const QueryBlock& block = call.blocks[index];
  if (block.slice_begin == block.slice_end && !block.first && !block.last) return;
  const int64_t kv_head = b * n.K + h / (n.H / n.K);
  float* state = call.state + ((b * n.H + h) * call.num_blocks + index) * forward_state_floats(n);
  Item item;
  item.keys = call.keys + kv_head * n.Tk * n.Dqk;
  item.values = call.values + kv_head * n.Tk * n.Dv;
  item.out_lanes = state;
  item.maximum = state + n.Dv * kQueryBlock;
  item.sum = item.maximum + kQueryBlock;
  item.q_lanes = scratch;
  item.scores = scratch + n.Dqk * kQueryBlock;
  item.width_qk = n.Dqk;
  item.width_v = n.Dv;
  item.row0 = block.row0;
  item.row1 = block.row0 + block.rows;
  if (block.first) clear_state(item);
  if (block.slice_begin != block.slice_end)
    pack_lanes(item.q_lanes, call.q.row(b, block.row0, h), call.q.token_stride, block.rows, n.Dqk,
               log2_units(call.scale));
  bool fresh = block.first;
  for (int64_t s = block.slice_begin; s < block.slice_end; ++s) visit_slice(item, call.slices[s], fresh);
  if (block.last) finish(call, item, b, h);
}

}  // namespace

int64_t forward_state_floats(const AttentionDims& dims) { return (dims.Dv + 2) * kQueryBlock; }

int64_t forward_scratch_floats(const AttentionDims& dims) { return (dims.Dqk + kKeysPerTile) * kQueryBlock; }

void attention_forward(const AttentionForwardCall& call) {
  const int64_t heads = call.dims.B * call.dims.H;
  parallel_for(heads * call.num_blocks, [&](int64_t item, int thread) {
    const int64_t head = item / call.num_blocks, block = item % call.num_blocks;
    if (thread == 0 && call.progress.call) call.progress.call(call.progress.context);
    forward_block(call, head / call.dims.H, head % call.dims.H, block,
                  call.scratch + thread * forward_scratch_floats(call.dims));
  });
}

}  // namespace annulus::cpu::ANNULUS_ISA
