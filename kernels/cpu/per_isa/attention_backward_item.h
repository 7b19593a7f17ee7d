#pragma once
// One block of queries of one head as the backward kernel works on it: its operands in both layouts, its statistics and
// its gradient, all in a thread's scratch.
#include <cstring>

#include "kernels/cpu/attention_calls.h"
#include "kernels/cpu/per_isa/lanes.h"
#include "kernels/cpu/per_isa/pack.h"

namespace annulus::cpu::ANNULUS_ISA {

template <class T>
struct BackwardItem {
  Word<T>*q_lanes, *dout_lanes;  // of pack_lanes(), q in units of log 2 where scores are not scaled later
  Word<T>*q_rows, *dout_rows;    // of pack_rows(), q times the softmax scale likewise
  float* dq_lanes;               // (Dqk, kQueryBlock)
  float *maximum, *over_sum;     // (kQueryBlock), the two parts of lse, the second as 1 / sum
  float* minus_delta;            // (kQueryBlock), times the softmax scale where scores are scaled later
  const QueryBlock* block;
};

/// Floats of scratch that carve_item() takes.
template <class T>
int64_t item_floats(const AttentionDims& n) {
  const int64_t operands = n.Dqk + n.Dv + padded_to_groups(n.Dqk) + padded_to_groups(n.Dv);
  return kQueryBlock * (n.Dqk + operands / kPerWord<T> + 3);
}

template <class T>
BackwardItem<T> carve_item(float* scratch, const AttentionDims& n, const QueryBlock& block) {
  auto take = [&](int64_t floats) {
    float* part = scratch;
    scratch += floats;
    return part;
  };
  auto take_words = [&](int64_t words) { return reinterpret_cast<Word<T>*>(take(words)); };
  BackwardItem<T> item = {};
  item.block = &block;
  item.dq_lanes = take(n.Dqk * kQueryBlock);
  item.q_lanes = take_words(n.Dqk / kPerWord<T> * kQueryBlock);
  item.dout_lanes = take_words(n.Dv / kPerWord<T> * kQueryBlock);
  item.q_rows = take_words(kQueryBlock / kPerWord<T> * padded_to_groups(n.Dqk));
  item.dout_rows = take_words(kQueryBlock / kPerWord<T> * padded_to_groups(n.Dv));
  item.maximum = take(kQueryBlock);
  item.over_sum = take(kQueryBlock);
  item.minus_delta = take(kQueryBlock);
  return item;
}

template <class T>
void load_queries(const BackwardItem<T>& item, const AttentionBackwardCall<T>& call, int64_t b, int64_t h) {
  const AttentionDims& n = call.dims;
  const int64_t rows = item.block->rows, row0 = item.block->row0, row_of_lse = (b * n.H + h) * n.Tq + row0;
  const T *q = call.q.row(b, row0, h), *dout = call.dout.row(b, row0, h);
  pack_lanes<T>(item.q_lanes, q, call.q.token_stride, rows, n.Dqk, log2_units(call.scale));
  pack_lanes<T>(item.dout_lanes, dout, call.dout.token_stride, rows, n.Dv, 1.0f);
  pack_rows<T>(item.q_rows, q, call.q.token_stride, rows, n.Dqk, call.scale);
  pack_rows<T>(item.dout_rows, dout, call.dout.token_stride, rows, n.Dv, 1.0f);
  std::memset(item.dq_lanes, 0, sizeof(float) * static_cast<size_t>(n.Dqk * kQueryBlock));
  const float minus = Operands<T>::kScaleScores ? -call.scale : -1.0f;
  for (int64_t i = 0; i < kQueryBlock; ++i) {
    const float sum = i < rows ? call.lse[row_of_lse + n.B * n.H * n.Tq + i] : 0.0f;
    const bool sees_nothing = sum == 0.0f;  // then p = 0, not NaN
    item.maximum[i] = sees_nothing ? -kMinusInfinity : call.lse[row_of_lse + i];
    item.over_sum[i] = sees_nothing ? 0.0f : 1.0f / sum;
    item.minus_delta[i] = i < rows ? minus * call.delta[row_of_lse + i] : 0.0f;
  }
}

template <class T>
void add_to_dq(const BackwardItem<T>& item, const AttentionBackwardCall<T>& call, int64_t b, int64_t h) {
  float* scale = item.maximum;  // no longer needed as that
  for (int64_t i = 0; i < kQueryBlock; ++i) scale[i] = Operands<T>::kScaleScores ? 1.0f : call.scale;
  float* dq = call.dq + b * call.dq_batch_stride + item.block->row0 * call.dq_token_stride + h * call.dims.Dqk;
  unpack_lanes<true>(dq, call.dq_token_stride, item.dq_lanes, item.block->rows, call.dims.Dqk, scale);
}

}  // namespace annulus::cpu::ANNULUS_ISA
