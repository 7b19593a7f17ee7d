#pragma once
// The attention kernels of one instruction set as plain calls: pointers and numbers only, so that the files compiled
// for an instruction set (per_isa/) need no other header of ours.
#include <cstdint>

#include "kernels/attention_tiles.h"

namespace annulus::cpu {

/// (B, T, heads, D) with unit stride inside a token.
struct TokenRows {
  const float* data;
  int64_t batch_stride, token_stride, head_stride;
  const float* row(int64_t b, int64_t t, int64_t head) const {
    return data + b * batch_stride + t * token_stride + head * head_stride;
  }
};

struct Progress {
  void (*call)(void*) = nullptr;  // called by the calling thread between query blocks
  void* context = nullptr;
};

struct AttentionForwardCall {
  AttentionDims dims;
  float scale;
  TokenRows q;
  const float* keys;    // (B, K, Tk, Dqk)
  const float* values;  // (B, K, Tk, Dv)
  float* state;         // (B, H, blocks, state_floats_per_block)
  float* out;           // (B, Tq, H, Dv)
  float* lse;           // (2, B, H, Tq)
  const QueryBlock* blocks;
  int64_t num_blocks;
  const BandSlice* slices;
  float* scratch;  // forward_scratch_floats() for each thread
  Progress progress;
};

struct AttentionBackwardCall {
  AttentionDims dims;
  float scale;
  TokenRows q;
  const float* keys;
  const float* values;
  TokenRows dout;
  const float* lse;    // (2, B, H, Tq)
  const float* delta;  // (B, H, Tq)
  float* dq;           // (B, Tq, H, Dqk) with these strides, added to
  int64_t dq_batch_stride, dq_token_stride;
  float* dkeys;    // like keys, zero when called
  float* dvalues;  // like values, zero when called
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
