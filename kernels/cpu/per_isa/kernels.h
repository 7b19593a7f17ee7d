#pragma once
// What the files of one instruction set define; table.cpp lists them for kernels/cpu/isa.cpp to choose from.
#include "kernels/cpu/attention_calls.h"
#include "kernels/cpu/isa_kernels.h"

namespace annulus::cpu::ANNULUS_ISA {

extern const IsaKernels kKernels;

int64_t forward_state_floats(const AttentionDims& dims);
double sum_of_squares(const float* x, int64_t n);
void adamw(float* master, Bf16* weight, float* m, float* v, const float* gradient, int64_t n, const AdamwStep& step);
void exp2_of(float* y, const float* x, int64_t n);
void exp2_bf16_of(float* y, const float* x, int64_t n);
double fma_gflops(double seconds);
double bf16_gflops(double seconds);

// T is float or Bf16; both are instantiated where the function is defined.
template <class T>
void rms_norm_forward(T* y_NC, float* rstd_N, const T* x_NC, const T* gain_C, int64_t N, int64_t C, float epsilon);
template <class T>
void rms_norm_backward(T* dx_NC, float* dgain_C, const T* dy_NC, const T* x_NC, const float* rstd_N, const T* gain_C,
                       const T* add_NC, int64_t N, int64_t C, float* scratch);
template <class T>
void rope(T* x, int64_t token_stride, const float* cosine, const float* sine, int64_t N, int64_t tokens, int64_t heads,
          int64_t D, float sign);
template <class T>
void swiglu_forward(T* y_NF, const T* gate_up_N2F, int64_t N, int64_t F);
template <class T>
void swiglu_backward(T* dgate_up_N2F, const T* dy_NF, const T* gate_up_N2F, int64_t N, int64_t F);
template <class T>
void cross_entropy(float* loss_N, T* dlogits_NV, const float* logits_NV, const int32_t* labels_N, int64_t N, int64_t V,
                   float gradient_scale);
template <class T>
void add(T* sum, const T* a, const T* b, int64_t n);
template <class T>
int64_t forward_scratch_floats(const AttentionDims& dims);
template <class T>
int64_t backward_scratch_floats(const AttentionDims& dims);
template <class T>
void attention_forward(const AttentionForwardCall<T>& call);
template <class T>
void attention_backward(const AttentionBackwardCall<T>& call);
template <class T>
void attention_delta(float* delta_BHT, TokenRows<T> out, TokenRows<T> dout, int64_t B, int64_t tokens, int64_t H,
                     int64_t D);
template <class T>
void pack_values(T* block, TokenRows<T> v, int64_t B, int64_t K, int64_t tokens, int64_t D);
template <class T>
int64_t gemm_scratch_words(const GemmCall<T>& call, int threads);
template <class T>
void gemm(const GemmCall<T>& call, int threads);
template <class To, class From>
void convert(To* y, int64_t y_row, const From* x, int64_t x_row, int64_t rows, int64_t columns);

}  // namespace annulus::cpu::ANNULUS_ISA
