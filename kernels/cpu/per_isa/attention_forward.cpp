// Flash attention, forward, one visit: arXiv:2205.14135 with the state (unnormalised out, reference maximum, sum)
// carried from visit to visit. Lanes are queries: S^T[j][i] = k_j . q_i comes from broadcasting K, which therefore
// stays as it arrived, and the softmax over j needs no sum across lanes. Scores are in units of log 2.
//
// A score that overflowed makes its row NaN. Infinity does that by itself; minus infinity would pass for a weight of 0,
// and a row of nothing else for one that sees no key: hence the smallest score, times 0, in the sum.
//
// The maximum is lazy: exponentials use the last reference maximum while the product is still in registers, and a tile
// is done again in two passes only where some score exceeds the reference by more than kLazyRange. Out and sum are
// relative to the reference, so that is exact, not an approximation; it saves a pass over the scores and the rescaling
// of out. After a tile that had to be done again, the next goes the long way at once.
//
// A thread takes a panel of several query blocks and lets tile after tile of keys visit all of them, so that keys and
// values come from memory once per panel.
#include <cstring>

#include "kernels/cpu/attention_calls.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/lanes.h"
#include "kernels/cpu/per_isa/micro_kernel.h"
#include "kernels/cpu/per_isa/pack.h"
#include "kernels/cpu/per_isa/packed_values.h"
#include "kernels/cpu/per_isa/panels.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

using Reg = Simd::Reg;

constexpr int64_t kKeysPerTile = 128;
constexpr int kRegs = Simd::kRegsPerTile;
constexpr float kLazyRange = 10.0f;  // exponentials stay below 2^10
constexpr float kLowest = -3.4028234663852886e38f;
static_assert(kKeysPerTile % kKeysTogether == 0);

// How a group of queries takes its next tile.
enum class Maximum : uint8_t { kUnknown, kLazy, kGrowing };

// One query block of one head: its state and its queries.
template <class T>
struct Item {
  float *out_lanes, *maximum, *sum;  // state: (Dv, kQueryBlock), (kQueryBlock), (kQueryBlock)
  Word<T>* q_lanes;                  // of pack_lanes()
  const QueryBlock* block;
  int64_t head;  // query head
  Maximum next[kQueryBlock / kGroup];
};

// The keys [begin, end) of one key/value head as the products take them.
template <class T>
struct KeyTile {
  const Word<T>* keys;    // `key_words` a row
  const Word<T>* values;  // Dv words for each kPerWord rows
  int64_t begin, end;
};

// What a thread works with: one panel and its scratch.
template <class T>
struct Panel {
  const AttentionForwardCall<T>& call;
  int64_t key_words, width_v;
  float log2_scale;  // of the scores, where they are not scaled already
  Word<T>* weights;  // (kKeysPerTile / kPerWord, kGroup)
  float* scores;     // (kKeysPerTile, kGroup); the weights' own memory where both are floats
  Word<T>* widened;  // room for a tile of keys and values that cannot be used in place
  Item<T> items[kMostBlocksPerPanel];
  int num_items;
};

// The largest and the smallest score that were seen, and the sum of the weights.
struct Running {
  Reg reference[kRegs], largest[kRegs], smallest[kRegs], sum[kRegs];
};

// Hides what the mask hides, and notes what is seen.
template <class T, bool kMasked, int kRows>
[[gnu::always_inline]] inline void take_scores(Reg (&s)[kRows][kRegs], Running& r, const Panel<T>& panel,
                                               const BandSlice& slice, int64_t key, int64_t lane_row) {
  const Reg scale = Simd::set1(panel.log2_scale);
#pragma GCC unroll 8
  for (int n = 0; n < kRegs; ++n)
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      if constexpr (Operands<T>::kScaleScores) s[m][n] = Simd::mul(s[m][n], scale);
      if constexpr (kMasked) {
        const Simd::Lanes seen = lanes_that_see(slice, key + m, lane_row + n * Simd::kLanes);
        r.smallest[n] = Simd::min(Simd::select(seen, s[m][n], Simd::zero()), r.smallest[n]);
        s[m][n] = Simd::select(seen, s[m][n], Simd::set1(kMinusInfinity));
      } else {
        r.smallest[n] = Simd::min(s[m][n], r.smallest[n]);
      }
      r.largest[n] = Simd::max(r.largest[n], s[m][n]);
    }
}

// Weights of rows that are neighbours, from row m on.
template <class T, int kRows>
[[gnu::always_inline]] inline void store_weights(Word<T>* to, const Reg (&p)[kRows]) {
#pragma GCC unroll 8
  for (int m = 0; m < kRows; m += kPerWord<T>) {
    if constexpr (kPerWord<T> == 1)
      Simd::store(to + m * kGroup, p[m]);
    else
      Operands<T>::store(to + m / 2 * kGroup, Operands<T>::pair(p[m], m + 1 < kRows ? p[m + 1] : Simd::zero()));
  }
}

// The scores of keys [begin, end), of which the tile's weights start at key `first`: lazy, exp2(s - reference) straight
// out of the product; else the scores themselves.
template <class T, bool kMasked, bool kLazy>
[[gnu::noinline]] void score_keys(const Panel<T>& panel, const Item<T>& item, const KeyTile<T>& tile, int64_t first,
                                  int64_t begin, int64_t end, int64_t group, const BandSlice& slice, bool prefetch,
                                  Running& running) {
  Running r = running;
  const int64_t lane_row = item.block->row0 + group;
  for_row_groups(end - begin, [&](auto rows, int64_t j) ANNULUS_ALWAYS {
    constexpr int kRows = decltype(rows)::kCount;
    const int64_t key = begin + j, at = key - first;
    const Word<T>* words = tile.keys + (key - tile.begin) * panel.key_words;
    if (prefetch) {
      prefetch_words(words + kKeysPerTile * panel.key_words, kRows * panel.key_words);
      prefetch_words(tile.values + (key - tile.begin + kKeysPerTile) / kPerWord<T> * panel.width_v,
                     kRows * panel.width_v / kPerWord<T>);
    }
    tile_product<Operands<T>, kRows, kRegs>(
        words, panel.key_words, 1, item.q_lanes + group * panel.key_words, kGroup, panel.key_words,
        [&](Reg(&s)[kRows][kRegs]) ANNULUS_ALWAYS {
          take_scores<T, kMasked>(s, r, panel, slice, key, lane_row);
#pragma GCC unroll 8
          for (int n = 0; n < kRegs; ++n) {
            if constexpr (!kLazy) {
#pragma GCC unroll 8
              for (int m = 0; m < kRows; ++m) Simd::store(panel.scores + (at + m) * kGroup + n * Simd::kLanes, s[m][n]);
            } else {
              Reg p[kRows];
#pragma GCC unroll 8
              for (int m = 0; m < kRows; ++m) {
                p[m] = Operands<T>::power_of_two(Simd::sub(s[m][n], r.reference[n]));
                r.sum[n] = Simd::add(r.sum[n], p[m]);
              }
              store_weights<T>(panel.weights + at / kPerWord<T> * kGroup + n * Simd::kLanes, p);
            }
          }
        });
  });
  running = r;
}

// The keys of a tile that one group of queries sees: those that some miss because of `hi`, those that all see, those
// that some miss because of `lo`. All four are multiples of kKeysTogether, or the end of the keys.
template <class T, bool kLazy>
void score_runs(const Panel<T>& panel, const Item<T>& item, const KeyTile<T>& tile, const KeyRuns& runs, int64_t group,
                const BandSlice& slice, bool prefetch, Running& r) {
  if (runs.begin < runs.full_begin)
    score_keys<T, true, kLazy>(panel, item, tile, runs.begin, runs.begin, runs.full_begin, group, slice, false, r);
  if (runs.full_begin < runs.full_end)
    score_keys<T, false, kLazy>(panel, item, tile, runs.begin, runs.full_begin, runs.full_end, group, slice, prefetch,
                                r);
  if (runs.full_end < runs.end)
    score_keys<T, true, kLazy>(panel, item, tile, runs.begin, runs.full_end, runs.end, group, slice, false, r);
}

Running start_running(const float* maximum) {
  Running r;
  for (int n = 0; n < kRegs; ++n) {
    r.reference[n] = r.largest[n] = Simd::load(maximum + n * Simd::kLanes);
    r.smallest[n] = r.sum[n] = Simd::zero();
  }
  return r;
}

bool exceeds_range(const Running& r) {
  for (int n = 0; n < kRegs; ++n)
    if (Simd::any(Simd::greater(Simd::sub(r.largest[n], r.reference[n]), Simd::set1(kLazyRange)))) return true;
  return false;
}

// The second pass of the two-pass form: raw scores of `num_keys` keys become weights of the new maximum. rescale[n] is
// what the carried out must be multiplied by.
template <class T>
void weigh_scores(const Panel<T>& panel, int64_t num_keys, Running& r, float* maximum, float* total,
                  Reg (&rescale)[kRegs]) {
  for (int n = 0; n < kRegs; ++n) {
    const float* scores = panel.scores + n * Simd::kLanes;
    Word<T>* weights = panel.weights + n * Simd::kLanes;
    auto weight = [&](int64_t j) ANNULUS_ALWAYS {
      const Reg p = Operands<T>::power_of_two(Simd::sub(Simd::load(scores + j * kGroup), r.largest[n]));
      r.sum[n] = Simd::add(r.sum[n], p);
      return p;
    };
    for (int64_t j = 0; j < num_keys; j += kPerWord<T>) {
      Reg p[kPerWord<T>] = {weight(j)};
      if constexpr (kPerWord<T> == 2) p[1] = j + 1 < num_keys ? weight(j + 1) : Simd::zero();
      store_weights<T>(weights + j / kPerWord<T> * kGroup, p);
    }
    // With the full exponential, and not that of the weights: out is rescaled again and again.
    rescale[n] = exp2(Simd::sub(r.reference[n], r.largest[n]));
    Simd::store(maximum + n * Simd::kLanes, r.largest[n]);
    Simd::store(total + n * Simd::kLanes, Simd::mul(Simd::load(total + n * Simd::kLanes), rescale[n]));
  }
}

// out^T[d][i] = out^T[d][i] * rescale + sum_j v[j][d] * p^T[j][i]
template <class T, bool kRescale>
[[gnu::noinline]] void add_values(const Panel<T>& panel, const Item<T>& item, const Word<T>* values, int64_t num_keys,
                                  int64_t group, const Reg (&rescale)[kRegs]) {
  constexpr int kRows = Simd::kRowsPerTile;
  const int64_t depth = (num_keys + kPerWord<T> - 1) / kPerWord<T>;
  for (int64_t d = 0; d < panel.width_v; d += kRows)
    tile_product<Operands<T>, kRows, kRegs>(
        values + d, 1, panel.width_v, panel.weights, kGroup, depth, [&](Reg(&c)[kRows][kRegs]) ANNULUS_ALWAYS {
#pragma GCC unroll 8
          for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
            for (int n = 0; n < kRegs; ++n) {
              float* out = item.out_lanes + (d + m) * kQueryBlock + group + n * Simd::kLanes;
              const Reg old = Simd::load(out);
              Simd::store(out, kRescale ? Simd::fma(old, rescale[n], c[m][n]) : Simd::add(old, c[m][n]));
            }
        });
}

template <class T>
void visit_group(const Panel<T>& panel, Item<T>& item, const KeyTile<T>& tile, const KeyRuns& runs, int64_t group,
                 const BandSlice& slice, bool prefetch) {
  float *maximum = item.maximum + group, *total = item.sum + group;
  Maximum& next = item.next[group / kGroup];
  Running r = start_running(maximum);
  Reg rescale[kRegs];
  bool rescaled = true;
  if (next == Maximum::kLazy) {
    score_runs<T, true>(panel, item, tile, runs, group, slice, prefetch, r);
    rescaled = exceeds_range(r);
    if (rescaled) r = start_running(maximum);
  }
  if (rescaled) {
    score_runs<T, false>(panel, item, tile, runs, group, slice, prefetch, r);
    next = next == Maximum::kUnknown || !exceeds_range(r) ? Maximum::kLazy : Maximum::kGrowing;
    weigh_scores(panel, runs.end - runs.begin, r, maximum, total, rescale);
  }
  for (int n = 0; n < kRegs; ++n) {
    const Reg sum = Simd::fma(r.smallest[n], Simd::zero(), r.sum[n]);
    Simd::store(total + n * Simd::kLanes, Simd::add(Simd::load(total + n * Simd::kLanes), sum));
  }
  const Word<T>* values = tile.values + (runs.begin - tile.begin) / kPerWord<T> * panel.width_v;
  rescaled ? add_values<T, true>(panel, item, values, runs.end - runs.begin, group, rescale)
           : add_values<T, false>(panel, item, values, runs.end - runs.begin, group, rescale);
}

template <class T>
void visit_tile(const Panel<T>& panel, Item<T>& item, const KeyTile<T>& tile, bool prefetch) {
  const int64_t row0 = item.block->row0, rows = item.block->rows;
  for (int64_t s = item.block->slice_begin; s < item.block->slice_end; ++s) {
    const BandSlice& slice = panel.call.slices[s];
    for (int64_t group = 0; group < rows; group += kGroup) {
      const int64_t bound = group + kGroup < rows ? group + kGroup : rows;
      const KeyRuns runs = runs_in_tile(slice, row0 + group, row0 + bound, tile.begin, tile.end);
      if (runs.begin < runs.end) visit_group(panel, item, tile, runs, group, slice, prefetch && group == 0);
    }
  }
}

// In place where they can be; else copied, widened or with a partner of zeros for the last key.
template <class T>
KeyTile<T> load_tile(const Panel<T>& panel, const T* keys, const T* values, int64_t begin, int64_t end) {
  const AttentionDims& n = panel.call.dims;
  KeyTile<T> tile = {nullptr, nullptr, begin, end};
  if constexpr (sizeof(T) == sizeof(float)) {
    tile.keys = keys + begin * n.Dqk;
    tile.values = values + begin * n.Dv;
  } else if constexpr (kPerWord<T> == 1) {
    Word<T>* wide_values = panel.widened + kKeysPerTile * n.Dqk;
    widen_rows(panel.widened, keys + begin * n.Dqk, (end - begin) * n.Dqk);
    split_values(wide_values, values, begin, end, n.Tk, n.Dv);
    tile.keys = panel.widened;
    tile.values = wide_values;
  } else {
    tile.keys = reinterpret_cast<const Word<T>*>(keys + begin * n.Dqk);
    tile.values = reinterpret_cast<const Word<T>*>(values + begin * n.Dv);
    if (end % 2 != 0) tile.values = with_partner(panel.widened, values + begin * n.Dv, end - begin, n.Dv);
  }
  return tile;
}

template <class T>
void start_item(const Panel<T>& panel, Item<T>& item, int64_t b) {
  const AttentionForwardCall<T>& call = panel.call;
  const QueryBlock& block = *item.block;
  for (Maximum& next : item.next) next = block.first ? Maximum::kUnknown : Maximum::kLazy;
  if (block.first) {
    std::memset(item.out_lanes, 0, sizeof(float) * static_cast<size_t>(call.dims.Dv * kQueryBlock));
    for (int64_t i = 0; i < kQueryBlock; ++i) {
      item.maximum[i] = kLowest;
      item.sum[i] = 0.0f;
    }
  }
  if (block.slice_begin != block.slice_end)
    pack_lanes<T>(item.q_lanes, call.q.row(b, block.row0, item.head), call.q.token_stride, block.rows, call.dims.Dqk,
                  log2_units(call.scale));
}

// Out and lse of a block; the scratch of the scores holds the reciprocal sums meanwhile.
template <class T>
void finish_item(const Panel<T>& panel, const Item<T>& item, int64_t b) {
  const AttentionForwardCall<T>& call = panel.call;
  const AttentionDims& n = call.dims;
  const int64_t row0 = item.block->row0, rows = item.block->rows;
  float* maximum = call.lse + (b * n.H + item.head) * n.Tq + row0;
  float* sum = maximum + n.B * n.H * n.Tq;
  for (int64_t i = 0; i < kQueryBlock; ++i) {
    const bool sees_nothing = item.sum[i] == 0.0f;
    panel.scores[i] = sees_nothing ? 0.0f : 1.0f / item.sum[i];
    if (i >= rows) continue;
    maximum[i] = item.maximum[i];
    sum[i] = item.sum[i];
  }
  T* out = call.out + ((b * n.Tq + row0) * n.H + item.head) * n.Dv;
  unpack_lanes<false>(out, n.H * n.Dv, item.out_lanes, rows, n.Dv, panel.scores);
}

int64_t floats_of_queries(const AttentionDims& n) { return n.Dqk * kQueryBlock; }

// Query head h, blocks [first, first + count).
template <class T>
void forward_panel(const AttentionForwardCall<T>& call, int64_t b, int64_t h, int64_t first, int64_t count,
                   float* scratch, bool calls_progress) {
  const AttentionDims& n = call.dims;
  Panel<T> panel = {.call = call,
                    .key_words = n.Dqk / kPerWord<T>,
                    .width_v = n.Dv,
                    .log2_scale = log2_units(call.scale),
                    .weights = reinterpret_cast<Word<T>*>(scratch),
                    .scores = scratch + (kPerWord<T> - 1) * kKeysPerTile * kGroup,
                    .widened = reinterpret_cast<Word<T>*>(scratch + 2 * kKeysPerTile * kGroup),
                    .items = {},
                    .num_items = 0};
  float* queries = scratch + 2 * kKeysPerTile * kGroup + kKeysPerTile * (n.Dqk + n.Dv);
  int64_t begin = n.Tk, end = 0;
  for (int64_t index = first + count - 1; index >= first; --index) {
    const QueryBlock& block = call.blocks[index];
    if (block.slice_begin == block.slice_end && !block.first && !block.last) continue;
    Item<T>& item = panel.items[panel.num_items];
    float* state = call.state + ((b * n.H + h) * call.num_blocks + index) * forward_state_floats(n);
    item.out_lanes = state;
    item.maximum = state + n.Dv * kQueryBlock;
    item.sum = item.maximum + kQueryBlock;
    item.q_lanes = reinterpret_cast<Word<T>*>(queries + panel.num_items * floats_of_queries(n));
    item.block = &block;
    item.head = h;
    ++panel.num_items;
    start_item(panel, item, b);
    widen_range(begin, end, call.slices, block);
  }
  const int64_t kv_head = b * n.K + h / (n.H / n.K);
  const T *keys = call.keys + kv_head * n.Tk * n.Dqk, *values = call.values + kv_head * n.Tk * n.Dv;
  for (int64_t key = begin / kKeysPerTile * kKeysPerTile; key < end; key += kKeysPerTile) {
    if (calls_progress) call.progress.call(call.progress.context);
    const int64_t bound = key + kKeysPerTile < n.Tk ? key + kKeysPerTile : n.Tk;
    const KeyTile<T> tile = load_tile(panel, keys, values, key, bound);
    const bool more = kUsedInPlace<T> && bound + kKeysPerTile <= n.Tk;
    for (int i = 0; i < panel.num_items; ++i) visit_tile(panel, panel.items[i], tile, more && i == 0);
  }
  for (int i = 0; i < panel.num_items; ++i)
    if (panel.items[i].block->last) finish_item(panel, panel.items[i], b);
}

}  // namespace

int64_t forward_state_floats(const AttentionDims& dims) { return (dims.Dv + 2) * kQueryBlock; }

template <class T>
int64_t forward_scratch_floats(const AttentionDims& n) {
  return 2 * kKeysPerTile * kGroup + kKeysPerTile * (n.Dqk + n.Dv) + kMostBlocksPerPanel * floats_of_queries(n);
}

template <class T>
void attention_forward(const AttentionForwardCall<T>& call) {
  const int64_t heads = call.dims.B * call.dims.H;
  const int64_t per_panel = blocks_per_panel(call.num_blocks, heads, kMostBlocksPerPanel);
  const int64_t panels = (call.num_blocks + per_panel - 1) / per_panel;
  // The last queries see most keys of a causal mask: the large items first.
  parallel_for(heads * panels, [&](int64_t item, int thread) {
    const int64_t head = item % heads, first = (panels - 1 - item / heads) * per_panel;
    const int64_t count = first + per_panel < call.num_blocks ? per_panel : call.num_blocks - first;
    forward_panel(call, head / call.dims.H, head % call.dims.H, first, count,
                  call.scratch + thread * forward_scratch_floats<T>(call.dims), thread == 0 && call.progress.call);
  });
}

template int64_t forward_scratch_floats<float>(const AttentionDims&);
template int64_t forward_scratch_floats<Bf16>(const AttentionDims&);
template void attention_forward(const AttentionForwardCall<float>&);
template void attention_forward(const AttentionForwardCall<Bf16>&);

}  // namespace annulus::cpu::ANNULUS_ISA
