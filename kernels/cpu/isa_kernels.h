#pragma once
// The kernels that exist once per instruction set, as a table of functions. Pointers and numbers only: the files behind
// it are compiled for CPUs that the rest of the program may not run on. Shapes are checked by the front functions
// (kernels/*.h), which also say what each op computes. N counts tokens.
#include <cstdint>

#include "kernels/adamw_step.h"
#include "kernels/cpu/attention_calls.h"
#include "runtime/core/bf16.h"

namespace annulus::cpu {

/// Tokens whose part of the gain's gradient rms_norm_backward adds up in one row of C floats of its scratch.
constexpr int64_t kTokensPerNormSum = 64;

/// c (M, N) (+)= op(a) op(b), with op(a) (M, K) and op(b) (K, N); rows lie a_row, b_row, c_row elements apart.
template <class T>
struct GemmCall {
  const T* a;
  int64_t a_row;
  bool transpose_a;
  const T* b;
  int64_t b_row;
  bool transpose_b;
  float* c_f32;  // where c is f32
  Bf16* c_bf16;  // where it is bf16
  bool rounds;   // the latter
  int64_t c_row;
  int64_t M, N, K;
  bool accumulate;  // c is f32
  float* scratch;   // gemm_scratch_words() of 32 bits
};

/// The kernels over activations and weights of one element type T, float or Bf16.
template <class T>
struct ElementKernels {
  void (*rms_norm_forward)(T* y_NC, float* rstd_N, const T* x_NC, const T* gain_C, int64_t N, int64_t C, float epsilon);
  void (*rms_norm_backward)(T* dx_NC, float* dgain_C, const T* dy_NC, const T* x_NC, const float* rstd_N,
                            const T* gain_C, const T* add_NC, int64_t N, int64_t C, float* scratch);
  void (*rope)(T* x, int64_t token_stride, const float* cosine, const float* sine, int64_t N, int64_t tokens,
               int64_t heads, int64_t D, float sign);
  void (*swiglu_forward)(T* y_NF, const T* gate_up_N2F, int64_t N, int64_t F);
  void (*swiglu_backward)(T* dgate_up_N2F, const T* dy_NF, const T* gate_up_N2F, int64_t N, int64_t F);
  void (*cross_entropy)(float* loss_N, T* dlogits_NV, const float* logits_NV, const int32_t* labels_N, int64_t N,
                        int64_t V, float gradient_scale);  // dlogits: null for no gradient
  void (*add)(T* sum, const T* a, const T* b, int64_t n);
  int64_t (*gemm_scratch_words)(const GemmCall<T>&, int threads);
  void (*gemm)(const GemmCall<T>&, int threads);
  void (*from_f32)(T* y, int64_t y_row, const float* x, int64_t x_row, int64_t rows, int64_t columns);
  void (*from_bf16)(T* y, int64_t y_row, const Bf16* x, int64_t x_row, int64_t rows, int64_t columns);

  int64_t (*forward_scratch_floats)(const AttentionDims&);   // of one thread
  int64_t (*backward_scratch_floats)(const AttentionDims&);  // of one thread
  void (*attention_forward)(const AttentionForwardCall<T>&);
  void (*attention_backward)(const AttentionBackwardCall<T>&);
  void (*attention_delta)(float* delta_BHT, TokenRows<T> out, TokenRows<T> dout, int64_t B, int64_t tokens, int64_t H,
                          int64_t D);
  void (*pack_values)(T* block, TokenRows<T> v, int64_t B, int64_t K, int64_t tokens, int64_t D);  // (B, K, tokens, D)
};

struct IsaKernels {
  const char* name;
  int64_t query_block;  // query rows that an attention kernel takes together

  int64_t (*forward_state_floats)(const AttentionDims&);  // of one query block of one head
  ElementKernels<float> f32;
  ElementKernels<Bf16> bf16;
  double (*sum_of_squares)(const float* x, int64_t n);
  void (*adamw)(float* master, Bf16* weight, float* m, float* v, const float* gradient, int64_t n,
                const AdamwStep& step);               // weight: the master rounded; null where the master is the weight
  void (*exp2)(float* y, const float* x, int64_t n);  // the exponentials inside the attention kernels, for their tests:
  void (*exp2_bf16)(float* y, const float* x, int64_t n);  // of weights that stay f32, that are rounded to bf16
  double (*fma_gflops)(double seconds);                    // the rate of one thread's fused multiply-adds in registers
  double (*bf16_gflops)(double seconds);  // the same of its products of bf16 pairs; 0 where it has none
  bool has_bf16_products;                 // otherwise bf16 operands are widened to f32
};

}  // namespace annulus::cpu
