// Flash attention, backward, one visit: arXiv:2307.08691 with queries outside and keys inside. A block of queries keeps
// everything it needs in scratch (both layouts of q and dout, and dq); K and V are read in place and dK, dV are added
// to this visit's buffer key block by key block. Threads share the key blocks in turns, in a fixed order, so that the
// sums have the same bits in every run. Scores are in units of log 2.
#include <sched.h>

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

constexpr int kRegs = Simd::kRegsPerTile;
constexpr int kRowsAtOnce = Simd::kRowsPerTile;
constexpr int64_t kGroup = kRegs * Simd::kLanes;

// One (batch, head, query block): its scratch and where its parts of K, V, dK, dV are.
struct Item {
  const float *keys, *values;  // row 0 of this key/value head
  float *dkeys, *dvalues;
  float *q_lanes, *dout_lanes;  // (D, kQueryBlock), q in units of log 2
  float *q_rows, *dout_rows;    // (kQueryBlock, D padded to lanes), q times the softmax scale
  float* dq_lanes;              // (Dqk, kQueryBlock)
  float *maximum, *over_sum;    // (kQueryBlock), the two parts of lse, the second as 1 / sum
  float* delta;                 // (kQueryBlock)
  float *p, *ds;                // (kKeyBlock, kQueryBlock)
  int64_t width_qk, width_v, row0, row1;
};

struct Tile {
  int64_t begin, end;
  const BandSlice* slice;  // nullptr: every query sees every key
};

Item carve(float* scratch, const AttentionDims& n) {
  Item item = {};
  auto take = [&](int64_t floats) {
    float* part = scratch;
    scratch += floats;
    return part;
  };
  item.q_lanes = take(n.Dqk * kQueryBlock);
  item.dq_lanes = take(n.Dqk * kQueryBlock);
  item.dout_lanes = take(n.Dv * kQueryBlock);
  item.q_rows = take(kQueryBlock * padded_to_lanes(n.Dqk));
  item.dout_rows = take(kQueryBlock * padded_to_lanes(n.Dv));
  item.p = take(kKeyBlock * kQueryBlock);
  item.ds = take(kKeyBlock * kQueryBlock);
  item.maximum = take(kQueryBlock);
  item.over_sum = take(kQueryBlock);
  item.delta = take(kQueryBlock);
  item.width_qk = n.Dqk;
  item.width_v = n.Dv;
  return item;
}

// p = exp2(s - maximum) / sum, as forward weighted its values, and ds = p * (dp - delta) of one tile, lanes are
// queries.
template <bool kMasked>
void scores_and_gradients(const Item& item, const Tile& tile) {
  for (int64_t group = 0; group < item.row1 - item.row0; group += kGroup) {
    Reg maximum[kRegs], over_sum[kRegs], delta[kRegs];
    for (int n = 0; n < kRegs; ++n) {
      maximum[n] = Simd::load(item.maximum + group + n * Simd::kLanes);
      over_sum[n] = Simd::load(item.over_sum + group + n * Simd::kLanes);
      delta[n] = Simd::load(item.delta + group + n * Simd::kLanes);
    }
    for_row_groups(tile.end - tile.begin, [&](auto rows, int64_t j) ANNULUS_ALWAYS {
      constexpr int kRows = decltype(rows)::kCount;
      const int64_t key = tile.begin + j;
      float* p = item.p + j * kQueryBlock + group;
      float* ds = item.ds + j * kQueryBlock + group;
      tile_product<kRows, kRegs>(item.keys + key * item.width_qk, item.width_qk, 1, item.q_lanes + group, kQueryBlock,
                                 item.width_qk, [&](Reg(&s)[kRows][kRegs]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
                                   for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
                                     for (int n = 0; n < kRegs; ++n) {
                                       if constexpr (kMasked) {
                                         const int64_t lane_row = item.row0 + group + n * Simd::kLanes;
                                         s[m][n] = Simd::select(lanes_that_see(*tile.slice, key + m, lane_row), s[m][n],
                                                                Simd::set1(kMinusInfinity));
                                       }
                                       Simd::store(p + m * kQueryBlock + n * Simd::kLanes,
                                                   Simd::mul(exp2(Simd::sub(s[m][n], maximum[n])), over_sum[n]));
                                     }
                                 });
      tile_product<kRows, kRegs>(item.values + key * item.width_v, item.width_v, 1, item.dout_lanes + group,
                                 kQueryBlock, item.width_v, [&](Reg(&dp)[kRows][kRegs]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
                                   for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
                                     for (int n = 0; n < kRegs; ++n) {
                                       const int64_t at = m * kQueryBlock + n * Simd::kLanes;
                                       Simd::store(ds + at,
                                                   Simd::mul(Simd::load(p + at), Simd::sub(dp[m][n], delta[n])));
                                     }
                                 });
    });
  }
}

// dq^T[d][i] += sum_j k[j][d] * ds^T[j][i]
void add_dq(const Item& item, const Tile& tile) {
  for (int64_t group = 0; group < item.row1 - item.row0; group += kGroup)
    for (int64_t d = 0; d < item.width_qk; d += kRowsAtOnce)
      tile_product<kRowsAtOnce, kRegs>(
          item.keys + tile.begin * item.width_qk + d, 1, item.width_qk, item.ds + group, kQueryBlock,
          tile.end - tile.begin, [&](Reg(&c)[kRowsAtOnce][kRegs]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
            for (int m = 0; m < kRowsAtOnce; ++m)
#pragma GCC unroll 8
              for (int n = 0; n < kRegs; ++n) {
                float* dq = item.dq_lanes + (d + m) * kQueryBlock + group + n * Simd::kLanes;
                Simd::store(dq, Simd::add(Simd::load(dq), c[m][n]));
              }
          });
}

// target[j][d ...] += sum_i weights[j][i] * rows[i][d ...], for kColumns registers of columns; `width` counts the
// columns that exist from d on.
template <int kColumns>
[[gnu::always_inline]] inline void add_columns(float* target, int64_t target_row, const float* weights,
                                               const float* rows, int64_t rows_row, int64_t num_keys, int64_t num_rows,
                                               int64_t width) {
  for_row_groups(num_keys, [&](auto group, int64_t j) ANNULUS_ALWAYS {
    constexpr int kRows = decltype(group)::kCount;
    tile_product<kRows, kColumns>(weights + j * kQueryBlock, kQueryBlock, 1, rows, rows_row, num_rows,
                                  [&](Reg(&c)[kRows][kColumns]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
                                    for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
                                      for (int n = 0; n < kColumns; ++n) {
                                        float* out = target + (j + m) * target_row + n * Simd::kLanes;
                                        const int64_t left = width - n * Simd::kLanes;
                                        Simd::store_first(out, Simd::add(Simd::load_first(out, left), c[m][n]), left);
                                      }
                                  });
  });
}

// dv[j] += sum_i p[i][j] dout[i], and the same for dk with ds and q: lanes are columns.
void add_rows(float* target, int64_t width, const float* weights, const float* rows, int64_t num_keys,
              int64_t num_rows) {
  const int64_t padded = padded_to_lanes(width);
  for (int64_t d = 0; d < padded; d += kGroup) {
    const int64_t regs = (padded - d) / Simd::kLanes;
    auto add = [&](auto columns) {
      add_columns<decltype(columns)::kCount>(target + d, width, weights, rows + d, padded, num_keys, num_rows,
                                             width - d);
    };
    if (regs >= kRegs)
      add(Rows<kRegs>{});
    else if (regs == 3)
      add(Rows<3>{});
    else if (regs == 2)
      add(Rows<2>{});
    else
      add(Rows<1>{});
  }
}

// Waits until all earlier items have added to this key block.
void wait_for_turn(const int32_t* turn, int32_t mine) {
  for (int spins = 0; __atomic_load_n(turn, __ATOMIC_ACQUIRE) != mine; ++spins)
    if (spins > 1000) sched_yield();
}

void visit_key_block(const Item& item, const AttentionBackwardCall& call, const QueryBlock& block, int64_t key_block,
                     int32_t* turn, int32_t mine) {
  const int64_t first = key_block * kKeyBlock, bound = first + kKeyBlock;
  bool my_turn = false;
  for (int64_t s = block.slice_begin; s < block.slice_end; ++s) {
    const KeyRuns runs = key_runs(call.slices[s], item.row0, item.row1);
    Tile tile = {runs.begin > first ? runs.begin : first, runs.end < bound ? runs.end : bound, &call.slices[s]};
    if (tile.begin >= tile.end) continue;
    if (runs.full_begin <= tile.begin && tile.end <= runs.full_end) tile.slice = nullptr;
    tile.slice ? scores_and_gradients<true>(item, tile) : scores_and_gradients<false>(item, tile);
    add_dq(item, tile);
    if (!my_turn) wait_for_turn(turn, mine);
    my_turn = true;
    const int64_t keys = tile.end - tile.begin, rows = item.row1 - item.row0;
    add_rows(item.dvalues + tile.begin * item.width_v, item.width_v, item.p, item.dout_rows, keys, rows);
    add_rows(item.dkeys + tile.begin * item.width_qk, item.width_qk, item.ds, item.q_rows, keys, rows);
  }
  if (!my_turn) wait_for_turn(turn, mine);
  __atomic_store_n(turn, mine + 1, __ATOMIC_RELEASE);
}

void load_queries(const Item& item, const AttentionBackwardCall& call, int64_t b, int64_t h) {
  const AttentionDims& n = call.dims;
  const int64_t rows = item.row1 - item.row0, row_of_lse = (b * n.H + h) * n.Tq + item.row0;
  const float *q = call.q.row(b, item.row0, h), *dout = call.dout.row(b, item.row0, h);
  pack_lanes(item.q_lanes, q, call.q.token_stride, rows, n.Dqk, log2_units(call.scale));
  pack_lanes(item.dout_lanes, dout, call.dout.token_stride, rows, n.Dv, 1.0f);
  pack_rows(item.q_rows, q, call.q.token_stride, rows, n.Dqk, call.scale);
  pack_rows(item.dout_rows, dout, call.dout.token_stride, rows, n.Dv, 1.0f);
  std::memset(item.dq_lanes, 0, sizeof(float) * static_cast<size_t>(n.Dqk * kQueryBlock));
  for (int64_t i = 0; i < kQueryBlock; ++i) {
    const float sum = i < rows ? call.lse[row_of_lse + n.B * n.H * n.Tq + i] : 0.0f;
    const bool sees_nothing = sum == 0.0f;  // then p = 0, not NaN
    item.maximum[i] = sees_nothing ? -kMinusInfinity : call.lse[row_of_lse + i];
    item.over_sum[i] = sees_nothing ? 0.0f : 1.0f / sum;
    item.delta[i] = i < rows ? call.delta[row_of_lse + i] : 0.0f;
  }
}

// Turns of one key/value head go block by block, and inside a block head by head, so that neighbours in turn touch
// nearly the same keys and seldom wait.
void backward_block(const AttentionBackwardCall& call, int64_t item_index, float* scratch) {
  const AttentionDims& n = call.dims;
  const int64_t heads_per_kv = n.H / n.K, kv_heads = n.B * n.K;
  const int64_t kv_head = item_index % kv_heads, turn = item_index / kv_heads;
  const int64_t b = kv_head / n.K, h = (kv_head % n.K) * heads_per_kv + turn % heads_per_kv;
  const QueryBlock& block = call.blocks[turn / heads_per_kv];
  const int64_t key_blocks = (n.Tk + kKeyBlock - 1) / kKeyBlock;
  Item item = carve(scratch, n);
  item.keys = call.keys + kv_head * n.Tk * n.Dqk;
  item.values = call.values + kv_head * n.Tk * n.Dv;
  item.dkeys = call.dkeys + kv_head * n.Tk * n.Dqk;
  item.dvalues = call.dvalues + kv_head * n.Tk * n.Dv;
  item.row0 = block.row0;
  item.row1 = block.row0 + block.rows;
  const bool sees_something = block.slice_begin != block.slice_end;
  if (sees_something) load_queries(item, call, b, h);
  for (int64_t key_block = 0; key_block < key_blocks; ++key_block)
    visit_key_block(item, call, block, key_block, call.turns + kv_head * key_blocks + key_block,
                    static_cast<int32_t>(turn));
  if (!sees_something) return;
  float* scale = item.maximum;  // no longer needed as that
  for (int64_t i = 0; i < kQueryBlock; ++i) scale[i] = call.scale;
  float* dq = call.dq + b * call.dq_batch_stride + item.row0 * call.dq_token_stride + h * n.Dqk;
  unpack_lanes<true>(dq, call.dq_token_stride, item.dq_lanes, block.rows, n.Dqk, scale);
}

}  // namespace

int64_t backward_scratch_floats(const AttentionDims& n) {
  return kQueryBlock * (2 * n.Dqk + n.Dv + padded_to_lanes(n.Dqk) + padded_to_lanes(n.Dv) + 2 * kKeyBlock + 3);
}

void attention_backward(const AttentionBackwardCall& call) {
  const int64_t items = call.dims.B * call.dims.H * call.num_blocks;
  parallel_for(items, [&](int64_t item, int thread) {
    if (thread == 0 && call.progress.call) call.progress.call(call.progress.context);
    backward_block(call, item, call.scratch + thread * backward_scratch_floats(call.dims));
  });
}

}  // namespace annulus::cpu::ANNULUS_ISA
