// Attention forward the way tensor core kernels do it (arXiv:2205.14135, arXiv:2307.08691), for tests of the simulated
// GPU: cp.async into two stages, ldmatrix, mma.sync, softmax on the fly. bf16 in, f32 out; heads of 64 numbers.

#include <cstdint>

#include "tests/cudasim/kernels/tensor_core.cuh"

namespace {

using bf16 = __nv_bfloat16;

constexpr int kWidth = 64;                                   // of a head: D
constexpr int kQueries = 64, kKeys = 64;                     // of a block; of a stage
constexpr int kWarp = 32, kThreads = kQueries / 16 * kWarp;  // a warp has 16 queries
constexpr int kChunk = 8, kChunks = kWidth / kChunk;         // 16 bytes are one copy and one bank of ldmatrix
constexpr int kTile = kKeys * kWidth;

// Chunks of a row of 128 bytes, swapped so that the eight rows that ldmatrix reads lie in different banks.
__device__ int place(int row, int chunk) { return row * kWidth + ((chunk ^ row % kChunks) * kChunk); }

// Rows from `tokens` on become zero.
__device__ void load_tile(bf16* tile, const bf16* from_TD, int first, int tokens) {
#pragma unroll
  for (int i = 0; i < kTile / kChunk / kThreads; ++i) {
    const int index = static_cast<int>(threadIdx.x) + i * kThreads, row = index / kChunks, chunk = index % kChunks;
    const bool exists = first + row < tokens;
    const bf16* source = from_TD + static_cast<int64_t>(exists ? first + row : 0) * kWidth + chunk * kChunk;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(tile + place(row, chunk))),
                 "l"(source), "r"(exists ? 16 : 0));
  }
}

__device__ void end_group() { asm volatile("cp.async.commit_group;"); }

__device__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ uint32_t pack(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// Over the four lanes that hold a row.
__device__ float row_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 2));
}
__device__ float row_sum(float value) {
  value += __shfl_xor_sync(0xffffffffu, value, 1);
  return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

// What a warp knows of its 16 queries. A lane holds, of rows `group` and `group` + 8, two columns in each eight.
struct Rows {
  float out[kWidth / 8][4] = {};
  float highest[2] = {-INFINITY, -INFINITY}, sum[2] = {};  // of the scores; of this lane's exponentials
};

__device__ void scores(float (&s)[kKeys / 8][4], const uint32_t (&q)[kWidth / 16][4], const bf16* keys, int lane) {
#pragma unroll
  for (int k = 0; k < kWidth / 16; ++k) {
#pragma unroll
    for (int n = 0; n < kKeys / 8; n += 2) {
      uint32_t b[4];
      load_matrices(b, keys + place(n * 8 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
      multiply(s[n], q[k], b[0], b[1]);
      multiply(s[n + 1], q[k], b[2], b[3]);
    }
  }
}

// Keys that do not exist or, causal, lie behind the query.
template <bool kCausal>
__device__ void mask(float (&s)[kKeys / 8][4], int first_key, int first_query, int tokens, int lane) {
#pragma unroll
  for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = first_key + n * 8 + lane % 4 * 2 + i % 2, query = first_query + lane / 4 + i / 2 * 8;
      if (key >= tokens || (kCausal && key > query)) s[n][i] = -INFINITY;
    }
  }
}

// Scores become exponentials; what was summed up so far is scaled to the new maximum. Every row sees a key.
__device__ void soften(float (&s)[kKeys / 8][4], Rows& rows, float scale_log2) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float highest = rows.highest[half];
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) highest = fmaxf(highest, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
    highest = row_max(highest);
    const float shift = highest * scale_log2;
    const float correction = exp2_fast(rows.highest[half] * scale_log2 - shift);
    rows.highest[half] = highest;
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        s[n][i] = exp2_fast(s[n][i] * scale_log2 - shift);
        sum += s[n][i];
      }
    }
    rows.sum[half] = rows.sum[half] * correction + sum;
#pragma unroll
    for (int d = 0; d < kWidth / 8; ++d) {
      rows.out[d][2 * half] *= correction;
      rows.out[d][2 * half + 1] *= correction;
    }
  }
}

__device__ void add_values(Rows& rows, const float (&s)[kKeys / 8][4], const bf16* values, int lane) {
#pragma unroll
  for (int k = 0; k < kKeys / 16; ++k) {
    const uint32_t p[4] = {pack(s[2 * k][0], s[2 * k][1]), pack(s[2 * k][2], s[2 * k][3]),
                           pack(s[2 * k + 1][0], s[2 * k + 1][1]), pack(s[2 * k + 1][2], s[2 * k + 1][3])};
#pragma unroll
    for (int d = 0; d < kWidth / 8; d += 2) {
      uint32_t b[4];
      load_transposed(b, values + place(k * 16 + lane % 16, d + lane / 16));
      multiply(rows.out[d], p, b[0], b[1]);
      multiply(rows.out[d + 1], p, b[2], b[3]);
    }
  }
}

__device__ void store(float* out_TD, float* lse_T, Rows& rows, int first_query, int tokens, float scale_log2,
                      int lane) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = row_sum(rows.sum[half]);
    const int query = first_query + lane / 4 + half * 8;
    if (query >= tokens) continue;
    float2* out = reinterpret_cast<float2*>(out_TD + static_cast<int64_t>(query) * kWidth) + lane % 4;
    const float scale = 1.0f / sum;
#pragma unroll
    for (int d = 0; d < kWidth / 8; ++d)
      __stcs(out + d * 4, make_float2(rows.out[d][2 * half] * scale, rows.out[d][2 * half + 1] * scale));
    constexpr float kLog2 = 0.693147180559945f;
    if (lane % 4 == 0) lse_T[query] = (rows.highest[half] * scale_log2 + log2f(sum)) * kLog2;
  }
}

// Block (x, y): queries from 64 x on, of head y. out, q, k, v: heads x tokens x 64; lse: heads x tokens.
template <bool kCausal>
__device__ void attention(float* out, float* lse, const bf16* q, const bf16* k, const bf16* v, int tokens,
                          float scale_log2) {
  __shared__ alignas(128) bf16 queries[kTile], keys[2][kTile], values[2][kTile];
  const int64_t head = static_cast<int64_t>(blockIdx.y) * tokens;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, first = blockIdx.x * kQueries;
  q += head * kWidth, k += head * kWidth, v += head * kWidth;
  const int end = kCausal ? min(tokens, first + kQueries) : tokens;
  load_tile(queries, q, first, tokens);
  load_tile(keys[0], k, 0, tokens);
  load_tile(values[0], v, 0, tokens);
  end_group();
  Rows rows;
  uint32_t mine[kWidth / 16][4];
  for (int key = 0, stage = 0; key < end; key += kKeys, stage ^= 1) {
    if (key + kKeys < end) {
      load_tile(keys[stage ^ 1], k, key + kKeys, tokens);
      load_tile(values[stage ^ 1], v, key + kKeys, tokens);
    }
    end_group();
    asm volatile("cp.async.wait_group 1;");
    __syncthreads();
    if (key == 0) {
#pragma unroll
      for (int i = 0; i < kWidth / 16; ++i)
        load_matrices(mine[i], queries + place(warp * 16 + lane % 16, i * 2 + lane / 16));
    }
    float s[kKeys / 8][4] = {};
    scores(s, mine, keys[stage], lane);
    if (key + kKeys > tokens || (kCausal && key + kKeys > first))
      mask<kCausal>(s, key, first + warp * 16, tokens, lane);
    soften(s, rows, scale_log2);
    add_values(rows, s, values[stage], lane);
    __syncthreads();  // before the next copies overwrite what other warps still read
  }
  asm volatile("cp.async.wait_group 0;");
  store(out + head * kWidth, lse + head, rows, first + warp * 16, tokens, scale_log2, lane);
}

}  // namespace

#define ATTENTION(name, causal)                                                                            \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                   \
      name(float* out, float* lse, const bf16* q, const bf16* k, const bf16* v, int tokens, float scale) { \
    attention<causal>(out, lse, q, k, v, tokens, scale);                                                   \
  }
ATTENTION(flash_forward, false)
ATTENTION(flash_forward_causal, true)
