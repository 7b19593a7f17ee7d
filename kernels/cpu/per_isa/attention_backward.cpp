// Flash attention, backward, one visit: arXiv:2307.08691 with panels of queries outside and blocks of keys inside. A
// block of queries keeps everything it needs in scratch (both layouts of q and dout, and dq); K and V are read once per
// panel and dK, dV are added to this visit's buffer key block by key block. Threads share the key blocks in turns, in a
// fixed order, so that the sums have the same bits in every run. Scores are in units of log 2.
#include <sched.h>

#include "kernels/cpu/attention_calls.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/attention_backward_item.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/lanes.h"
#include "kernels/cpu/per_isa/micro_kernel.h"
#include "kernels/cpu/per_isa/panels.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

using Reg = Simd::Reg;

constexpr int kRegs = Simd::kRegsPerTile;
constexpr int kRowsAtOnce = Simd::kRowsPerTile;
constexpr int64_t kRowGroups = kKeyBlock / kRowsAtOnce;
constexpr int64_t kPanelFloats = 96 * 1024;  // the queries of a panel: a good part of a small L2
static_assert(kKeyBlock % kKeysTogether == 0 && kKeysTogether % kRowsAtOnce == 0);

// The keys [begin, end) of one head as the products take them, row by row but for dq.
template <class T>
struct KeyTile {
  const Word<T>*keys, *values;  // D words a row
  const Word<T>* keys_for_dq;   // (kKeyBlock / kPerWord, Dqk): what is summed over keys
  int64_t begin, end;
};

// What a thread works with.
template <class T>
struct Panel {
  const AttentionBackwardCall<T>& call;
  int64_t words_qk, words_v;
  float *dkeys, *dvalues;  // row 0 of this key/value head
  Word<T>*p, *ds;          // (kKeyBlock, kQueryBlock / kPerWord)
  Word<T>* ds_for_dq;      // (kKeyBlock / kPerWord, kQueryBlock); ds itself where words are floats
  float* p_now;            // (kRowsAtOnce, kGroup) of the rows at hand
  Word<T>* copied;         // room for a tile of keys and values that cannot be used in place
  BackwardItem<T> items[kMostBlocksPerPanel];
  int num_items;
};

// The queries [begin, end), in groups, that see some of the keys of a group of rows.
struct GroupRange {
  int8_t begin = 127, end = 0;
};

template <class T>
[[gnu::always_inline]] inline Reg minus_infinity_where_hidden(Reg s, const BandSlice& slice, int64_t key,
                                                              int64_t lane_row) {
  return Simd::select(lanes_that_see(slice, key, lane_row), s, Simd::set1(kMinusInfinity));
}

// Row by row as they are summed over queries: kept where words are floats, rounded where they are pairs.
template <class T>
[[gnu::always_inline]] inline void store_row(Word<T>* row, int64_t lane, Reg r) {
  if constexpr (kPerWord<T> == 1)
    Simd::store(row + lane, r);
  else
    Simd::store_bf16(reinterpret_cast<Bf16*>(row) + lane, r);
}

// p = exp2(s - maximum) / sum, as forward weighted its values, and ds = p * (dp - delta), lanes are queries.
template <class T, bool kMasked>
[[gnu::noinline]] void scores_and_gradients(const Panel<T>& panel, const BackwardItem<T>& item, const KeyTile<T>& tile,
                                            int64_t begin, int64_t end, int64_t group, const BandSlice& slice) {
  constexpr int64_t kRowWords = kQueryBlock / kPerWord<T>;
  Reg maximum[kRegs], over_sum[kRegs], minus_delta[kRegs];
  for (int n = 0; n < kRegs; ++n) {
    maximum[n] = Simd::load(item.maximum + group + n * Simd::kLanes);
    over_sum[n] = Simd::load(item.over_sum + group + n * Simd::kLanes);
    minus_delta[n] = Simd::load(item.minus_delta + group + n * Simd::kLanes);
  }
  const Reg log2_scale = Simd::set1(log2_units(panel.call.scale)), scale = Simd::set1(panel.call.scale);
  for_row_groups(end - begin, [&](auto rows, int64_t j) ANNULUS_ALWAYS {
    constexpr int kRows = decltype(rows)::kCount;
    const int64_t key = begin + j, at = key - tile.begin;
    Word<T>*p_row = panel.p + at * kRowWords, *ds_row = panel.ds + at * kRowWords;
    float* p_now = kPerWord<T> == 1 ? reinterpret_cast<float*>(p_row) + group : panel.p_now;
    constexpr int64_t kNowRow = kPerWord<T> == 1 ? kQueryBlock : kGroup;
    tile_product<Operands<T>, kRows, kRegs>(
        tile.keys + at * panel.words_qk, panel.words_qk, 1, item.q_lanes + group * panel.words_qk, kGroup,
        panel.words_qk, [&](Reg(&s)[kRows][kRegs]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
          for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
            for (int n = 0; n < kRegs; ++n) {
              Reg x = s[m][n];
              if constexpr (Operands<T>::kScaleScores) x = Simd::mul(x, log2_scale);
              if constexpr (kMasked)
                x = minus_infinity_where_hidden<T>(x, slice, key + m, item.block->row0 + group + n * Simd::kLanes);
              const Reg p = Simd::mul(Operands<T>::power_of_two(Simd::sub(x, maximum[n])), over_sum[n]);
              Simd::store(p_now + m * kNowRow + n * Simd::kLanes, p);
              if constexpr (kPerWord<T> == 2) store_row<T>(p_row + m * kRowWords, group + n * Simd::kLanes, p);
            }
        });
    tile_product<Operands<T>, kRows, kRegs>(
        tile.values + at * panel.words_v, panel.words_v, 1, item.dout_lanes + group * panel.words_v, kGroup,
        panel.words_v, [&](Reg(&dp)[kRows][kRegs]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
          for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
            for (int n = 0; n < kRegs; ++n) {
              const Reg difference = Operands<T>::kScaleScores ? Simd::fma(dp[m][n], scale, minus_delta[n])
                                                               : Simd::add(dp[m][n], minus_delta[n]);
              dp[m][n] = Simd::mul(Simd::load(p_now + m * kNowRow + n * Simd::kLanes), difference);
              store_row<T>(ds_row + m * kRowWords, group + n * Simd::kLanes, dp[m][n]);
            }
          if constexpr (kPerWord<T> == 2) {
#pragma GCC unroll 8
            for (int m = 0; m < kRows; m += 2)
#pragma GCC unroll 8
              for (int n = 0; n < kRegs; ++n)
                Operands<T>::store(panel.ds_for_dq + (at + m) / 2 * kQueryBlock + group + n * Simd::kLanes,
                                   Operands<T>::pair(dp[m][n], m + 1 < kRows ? dp[m + 1][n] : Simd::zero()));
          }
        });
  });
}

// dq^T[d][i] += sum_j k[j][d] * ds^T[j][i] for the keys [begin, end).
template <class T>
void add_dq(const Panel<T>& panel, const BackwardItem<T>& item, const KeyTile<T>& tile, int64_t begin, int64_t end,
            int64_t group) {
  const int64_t first = (begin - tile.begin) / kPerWord<T>, width = panel.call.dims.Dqk;
  const int64_t depth = (end - begin + kPerWord<T> - 1) / kPerWord<T>;
  for (int64_t d = 0; d < width; d += kRowsAtOnce)
    tile_product<Operands<T>, kRowsAtOnce, kRegs>(
        tile.keys_for_dq + first * width + d, 1, width, panel.ds_for_dq + first * kQueryBlock + group, kQueryBlock,
        depth, [&](Reg(&c)[kRowsAtOnce][kRegs]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
          for (int m = 0; m < kRowsAtOnce; ++m)
#pragma GCC unroll 8
            for (int n = 0; n < kRegs; ++n) {
              float* dq = item.dq_lanes + (d + m) * kQueryBlock + group + n * Simd::kLanes;
              Simd::store(dq, Simd::add(Simd::load(dq), c[m][n]));
            }
        });
}

// target[m][n] += sum over `depth` words of weights[m] * rows[.][n], for kRows keys and kColumns registers of columns,
// of which `width` columns exist.
template <class T, int kRows, int kColumns>
[[gnu::always_inline]] inline void add_columns(float* target, int64_t target_row, const Word<T>* weights,
                                               const Word<T>* rows, int64_t rows_row, int64_t depth, int64_t width) {
  tile_product<Operands<T>, kRows, kColumns>(
      weights, kQueryBlock / kPerWord<T>, 1, rows, rows_row, depth, [&](Reg(&c)[kRows][kColumns]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
          for (int n = 0; n < kColumns; ++n) {
            float* out = target + m * target_row + n * Simd::kLanes;
            const int64_t left = width - n * Simd::kLanes;
            if (left >= Simd::kLanes)
              Simd::store(out, Simd::add(Simd::load(out), c[m][n]));
            else if (left > 0)
              Simd::store_first(out, Simd::add(Simd::load_first(out, left), c[m][n]), left);
          }
      });
}

// dv[j] += sum_i p[i][j] dout[i], and the same for dk with ds and q: lanes are columns. Of each group of keys, only the
// queries that see some of it.
template <class T>
[[gnu::noinline]] void add_rows(float* target, int64_t width, const Word<T>* weights, const Word<T>* rows,
                                int64_t num_keys, const GroupRange* seen_by) {
  const int64_t padded = padded_to_lanes(width);
  for (int64_t d = 0; d < padded; d += kGroup)
    for_row_groups(num_keys, [&](auto group, int64_t j) ANNULUS_ALWAYS {
      constexpr int kRows = decltype(group)::kCount;
      const GroupRange range = seen_by[j / kRowsAtOnce];
      if (range.begin >= range.end) return;
      constexpr int64_t kGroupWords = kGroup / kPerWord<T>;
      const int64_t first = range.begin * kGroupWords, depth = range.end * kGroupWords - first;
      const Word<T>* a = weights + j * (kQueryBlock / kPerWord<T>)+first;
      const Word<T>* b = rows + d / kGroup * kGroup * (kQueryBlock / kPerWord<T>)+first * kGroup;
      if (padded - d >= kGroup)
        add_columns<T, kRows, kRegs>(target + j * width + d, width, a, b, kGroup, depth, width - d);
      else if (padded - d == 2 * Simd::kLanes)
        add_columns<T, kRows, 2>(target + j * width + d, width, a, b, kGroup, depth, width - d);
      else
        for (int64_t column = d; column < padded; column += Simd::kLanes)
          add_columns<T, kRows, 1>(target + j * width + column, width, a, b + column - d, kGroup, depth,
                                   width - column);
    });
}

// Waits until all earlier panels have added to this key block.
void wait_for_turn(const int32_t* turn, int32_t mine) {
  for (int spins = 0; __atomic_load_n(turn, __ATOMIC_ACQUIRE) != mine; ++spins)
    if (spins > 1000) sched_yield();
}

// What one slice lets one block of queries see of the tile. False if nothing: no sum was touched.
template <class T>
bool score_slice(const Panel<T>& panel, const BackwardItem<T>& item, const KeyTile<T>& tile, const BandSlice& slice,
                 GroupRange (&seen_by)[kRowGroups]) {
  const int64_t row0 = item.block->row0, rows = item.block->rows;
  bool any = false;
  for (int64_t group = 0; group < rows; group += kGroup) {
    const int64_t bound = group + kGroup < rows ? group + kGroup : rows;
    const KeyRuns runs = runs_in_tile(slice, row0 + group, row0 + bound, tile.begin, tile.end);
    if (runs.begin >= runs.end) continue;
    any = true;
    if (runs.begin < runs.full_begin)
      scores_and_gradients<T, true>(panel, item, tile, runs.begin, runs.full_begin, group, slice);
    if (runs.full_begin < runs.full_end)
      scores_and_gradients<T, false>(panel, item, tile, runs.full_begin, runs.full_end, group, slice);
    if (runs.full_end < runs.end)
      scores_and_gradients<T, true>(panel, item, tile, runs.full_end, runs.end, group, slice);
    add_dq(panel, item, tile, runs.begin, runs.end, group);
    const auto index = static_cast<int8_t>(group / kGroup);
    for (int64_t key = runs.begin; key < runs.end; key += kRowsAtOnce) {
      GroupRange& range = seen_by[(key - tile.begin) / kRowsAtOnce];
      range.begin = index < range.begin ? index : range.begin;
      range.end = static_cast<int8_t>(index + 1);
    }
  }
  return any;
}

template <class T>
void visit_tile(const Panel<T>& panel, const KeyTile<T>& tile, int32_t* turn, int32_t mine) {
  const AttentionDims& n = panel.call.dims;
  bool my_turn = false;
  for (int i = 0; i < panel.num_items; ++i) {
    const BackwardItem<T>& item = panel.items[i];
    for (int64_t s = item.block->slice_begin; s < item.block->slice_end; ++s) {
      GroupRange seen_by[kRowGroups];
      if (!score_slice(panel, item, tile, panel.call.slices[s], seen_by)) continue;
      if (!my_turn) wait_for_turn(turn, mine);
      my_turn = true;
      const int64_t keys = tile.end - tile.begin;
      add_rows<T>(panel.dvalues + tile.begin * n.Dv, n.Dv, panel.p, item.dout_rows, keys, seen_by);
      add_rows<T>(panel.dkeys + tile.begin * n.Dqk, n.Dqk, panel.ds, item.q_rows, keys, seen_by);
    }
  }
  if (!my_turn) wait_for_turn(turn, mine);
  __atomic_store_n(turn, mine + 1, __ATOMIC_RELEASE);
}

template <class T>
KeyTile<T> load_tile(const Panel<T>& panel, const T* keys, const T* values, int64_t begin, int64_t end) {
  const AttentionDims& n = panel.call.dims;
  KeyTile<T> tile = {nullptr, nullptr, nullptr, begin, end};
  if constexpr (sizeof(T) == sizeof(float)) {
    tile.keys = tile.keys_for_dq = keys + begin * n.Dqk;
    tile.values = values + begin * n.Dv;
  } else if constexpr (kPerWord<T> == 1) {
    Word<T>* wide_values = panel.copied + kKeyBlock * n.Dqk;
    widen_rows(panel.copied, keys + begin * n.Dqk, (end - begin) * n.Dqk);
    split_values(wide_values, values, begin, end, n.Tk, n.Dv);
    tile.keys = tile.keys_for_dq = panel.copied;
    tile.values = wide_values;
  } else {
    auto* rows = reinterpret_cast<Bf16*>(panel.copied);
    Word<T>* pairs = panel.copied + kKeyBlock * n.Dv / 2;
    split_values(rows, values, begin, end, n.Tk, n.Dv);
    pair_rows(pairs, keys + begin * n.Dqk, end - begin, n.Dqk);
    tile.keys = reinterpret_cast<const Word<T>*>(keys + begin * n.Dqk);
    tile.values = panel.copied;
    tile.keys_for_dq = pairs;
  }
  return tile;
}

// Blocks [first, first + count) of query head h of key/value head `kv_head`, whose turn this is.
template <class T>
void backward_panel(const AttentionBackwardCall<T>& call, int64_t kv_head, int64_t h, int64_t first, int64_t count,
                    int32_t turn, float* scratch, bool calls_progress) {
  const AttentionDims& n = call.dims;
  const int64_t b = kv_head / n.K, tile_words = kKeyBlock * kQueryBlock / kPerWord<T>;
  auto* words = reinterpret_cast<Word<T>*>(scratch);
  Panel<T> panel = {.call = call,
                    .words_qk = n.Dqk / kPerWord<T>,
                    .words_v = n.Dv / kPerWord<T>,
                    .dkeys = call.dkeys + kv_head * n.Tk * n.Dqk,
                    .dvalues = call.dvalues + kv_head * n.Tk * n.Dv,
                    .p = words,
                    .ds = words + tile_words,
                    .ds_for_dq = words + (kPerWord<T> == 1 ? 1 : 2) * tile_words,
                    .p_now = scratch + 2 * kKeyBlock * kQueryBlock,
                    .copied = words + 2 * kKeyBlock * kQueryBlock + kRowsAtOnce * kGroup,
                    .items = {},
                    .num_items = 0};
  float* queries = scratch + 2 * kKeyBlock * kQueryBlock + kRowsAtOnce * kGroup + kKeyBlock * (n.Dqk + n.Dv);
  for (int64_t index = first + count - 1; index >= first; --index) {
    const QueryBlock& block = call.blocks[index];
    if (block.slice_begin == block.slice_end) continue;
    BackwardItem<T>& item = panel.items[panel.num_items];
    item = carve_item<T>(queries + panel.num_items * item_floats<T>(n), n, block);
    ++panel.num_items;
    load_queries(item, call, b, h);
  }
  const T *keys = call.keys + kv_head * n.Tk * n.Dqk, *values = call.values + kv_head * n.Tk * n.Dv;
  const int64_t tiles = (n.Tk + kKeyBlock - 1) / kKeyBlock;
  int64_t begin = n.Tk, end = 0;
  for (int i = 0; i < panel.num_items; ++i) widen_range(begin, end, call.slices, *panel.items[i].block);
  for (int64_t t = 0; t < tiles; ++t) {
    if (calls_progress) call.progress.call(call.progress.context);
    const int64_t key = t * kKeyBlock, bound = key + kKeyBlock < n.Tk ? key + kKeyBlock : n.Tk;
    KeyTile<T> tile = {nullptr, nullptr, nullptr, key, bound};
    if (key < end && begin < bound) tile = load_tile(panel, keys, values, key, bound);
    visit_tile(panel, tile, call.turns + kv_head * tiles + t, turn);
  }
  for (int i = 0; i < panel.num_items; ++i) add_to_dq(panel.items[i], call, b, h);
}

template <class T>
int64_t most_blocks_per_panel(const AttentionDims& n) {
  const int64_t fitting = kPanelFloats / item_floats<T>(n);
  return fitting < 1 ? 1 : fitting < kMostBlocksPerPanel ? fitting : kMostBlocksPerPanel;
}

}  // namespace

template <class T>
int64_t backward_scratch_floats(const AttentionDims& n) {
  return 2 * kKeyBlock * kQueryBlock + kRowsAtOnce * kGroup + kKeyBlock * (n.Dqk + n.Dv) +
         most_blocks_per_panel<T>(n) * item_floats<T>(n);
}

// Turns of one key/value head go query head by query head, each from its last queries to its first, so that the sums do
// not depend on how blocks share panels. As many key/value heads are under way as there are threads: the panels of one
// would follow each other in single file, and more heads would not fit into the caches.
template <class T>
void attention_backward(const AttentionBackwardCall<T>& call) {
  const AttentionDims& n = call.dims;
  const int64_t heads_per_kv = n.H / n.K, kv_heads = n.B * n.K;
  const int64_t per_panel = blocks_per_panel(call.num_blocks, n.B * n.H, most_blocks_per_panel<T>(n));
  const int64_t panels = (call.num_blocks + per_panel - 1) / per_panel, turns = panels * heads_per_kv;
  const int64_t threads = omp_get_max_threads(), at_once = threads < kv_heads ? threads : kv_heads;
  parallel_for(kv_heads * turns, [&](int64_t item, int thread) {
    const int64_t first_head = item / (at_once * turns) * at_once, rest = item % (at_once * turns);
    const int64_t under_way = first_head + at_once <= kv_heads ? at_once : kv_heads - first_head;
    const int64_t kv_head = first_head + rest % under_way, turn = rest / under_way;
    const int64_t h = kv_head % n.K * heads_per_kv + turn / panels;
    const int64_t first = (panels - 1 - turn % panels) * per_panel;
    const int64_t count = first + per_panel < call.num_blocks ? per_panel : call.num_blocks - first;
    backward_panel(call, kv_head, h, first, count, static_cast<int32_t>(turn),
                   call.scratch + thread * backward_scratch_floats<T>(n), thread == 0 && call.progress.call);
  });
}

template int64_t backward_scratch_floats<float>(const AttentionDims&);
template int64_t backward_scratch_floats<Bf16>(const AttentionDims&);
template void attention_backward(const AttentionBackwardCall<float>&);
template void attention_backward(const AttentionBackwardCall<Bf16>&);

}  // namespace annulus::cpu::ANNULUS_ISA
