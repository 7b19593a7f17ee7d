#pragma once
// The attention kernels of one instruction set as plain calls: pointers and numbers only, so that the files compiled
// for an instruction set (per_isa/) need no other header of ours.
#include <cstdint>

#include "kernels/attention_tiles.h"

namespace annulus::cpu {

/// (B, T, heads, D) with unit stride inside a token. T: float or Bf16, the dtype of the model.
template <class T>
struct TokenRows {
  const T* data;
  int64_t batch_stride, token_stride, head_stride;
  const T* row(int64_t b, int64_t t, int64_t head) const {
    return data + b * batch_stride + t * token_stride + head * head_stride;
  }
};

struct Progress {
  void (*call)(void*) = nullptr;  // called by the calling thread between blocks of keys
  void* context = nullptr;
};

template <class T>
struct AttentionForwardCall {
  AttentionDims dims;
  float scale;
  TokenRows<T> q;
  const T* keys;    // (B, K, Tk, Dqk)
  const T* values;  // (B, K, Tk, Dv), bf16 in pairs of rows (kernels/attention.h)
  float* state;     // (B, H, blocks, state_floats_per_block)
  T* out;           // (B, Tq, H, Dv)
  float* lse;       // (2, B, H, Tq)
  const QueryBlock* blocks;
  int64_t num_blocks;
  const BandSlice* slices;
  float* scratch;  // forward_scratch_floats() for each thread
  Progress progress;
};

template <class T>
struct AttentionBackwardCall {
  AttentionDims dims;
  float scale;
  TokenRows<T> q;
  const T* keys;
  const T* values;
  TokenRows<T> dout;
  const float* lse;    // (2, B, H, Tq)
  const float* delta;  // (B, H, Tq)
  float* dq;           // (B, Tq, H, Dqk) with these strides, added to
  int64_t dq_batch_stride, dq_token_stride;
  float* dkeys;    // (B, K, Tk, Dqk), zero when called
  float* dvalues;  // (B, K, Tk, Dv) row by row, zero when called
  const QueryBlock* blocks;
  int64_t num_blocks;
  const BandSlice* slices;
  float* scratch;  // backward_scratch_floats() for each thread
  int32_t* turns;  // (B, K, ceil(Tk / kKeyBlock)), zero when called
  Progress progress;
};

/// Keys that the backward kernel takes together; a turn counter guards each such block.
constexpr int64_t kKeyBlock = 64;

}  // namespace annulus::cpu
