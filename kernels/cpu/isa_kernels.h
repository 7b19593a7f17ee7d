#pragma once
// The kernels that exist once per instruction set, as a table of functions. Pointers and numbers only: the files behind
// it are compiled for CPUs that the rest of the program may not run on. Shapes are checked by the front functions
// (kernels/*.h), which also say what each op computes. All data is f32; N counts tokens.
#include <cstdint>

#include "kernels/cpu/attention_calls.h"

namespace annulus::cpu {

struct AdamwStep {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  float gradient_scale;            // 1, or less when the global norm is clipped
  float correction1, correction2;  // 1 / (1 - beta^t)
};

struct IsaKernels {
  const char* name;
  int64_t query_block;  // query rows that an attention kernel takes together

  int64_t (*forward_state_floats)(const AttentionDims&);     // of one query block of one head
  int64_t (*forward_scratch_floats)(const AttentionDims&);   // of one thread
  int64_t (*backward_scratch_floats)(const AttentionDims&);  // of one thread
  void (*attention_forward)(const AttentionForwardCall&);
  void (*attention_backward)(const AttentionBackwardCall&);
  void (*attention_delta)(float* delta_BHT, TokenRows out, TokenRows dout, int64_t B, int64_t T, int64_t H, int64_t D);

  void (*rms_norm_forward)(float* y_NC, float* rstd_N, const float* x_NC, const float* gain_C, int64_t N, int64_t C,
                           float epsilon);
  void (*rms_norm_backward)(float* dx_NC, float* dgain_C, const float* dy_NC, const float* x_NC, const float* rstd_N,
                            const float* gain_C, const float* add_NC, int64_t N, int64_t C);
  void (*rope)(float* x, int64_t token_stride, const float* cosine, const float* sine, int64_t N, int64_t T,
               int64_t heads, int64_t D, float sign);
  void (*swiglu_forward)(float* y_NF, const float* gate_up_N2F, int64_t N, int64_t F);
  void (*swiglu_backward)(float* dgate_up_N2F, const float* dy_NF, const float* gate_up_N2F, int64_t N, int64_t F);
  void (*cross_entropy)(float* loss_N, float* logits_NV, const int32_t* labels_N, int64_t N, int64_t V,
                        bool with_gradient, float gradient_scale);
  void (*add)(float* sum, const float* a, const float* b, int64_t n);
  double (*sum_of_squares)(const float* x, int64_t n);
  void (*adamw)(float* weight, float* m, float* v, const float* gradient, int64_t n, const AdamwStep& step);
  void (*exp2)(float* y, const float* x, int64_t n);  // the exponential inside the attention kernels, for its own test
  double (*fma_gflops)(double seconds);               // the rate of one thread's fused multiply-adds in registers
};

}  // namespace annulus::cpu
