#pragma once
// The launchers of the kernels in this folder. They take shapes, element types and scratch as kernels/device_ops.h
// says, enqueue on the stream and return at once; what they return is a cudaError_t. T is float or Bf16; sizes may be
// 0.
#include "kernels/device_ops.h"

namespace annulus::cuda {

template <class T>
DeviceError rms_norm_forward(T* y_NC, float* rstd_N, const T* x_NC, const T* gain_C, int64_t N, int64_t C,
                             float epsilon, DeviceStream stream);
template <class T>
DeviceError rms_norm_backward(T* dx_NC, float* dgain_C, const T* dy_NC, const T* x_NC, const float* rstd_N,
                              const T* gain_C, const T* residual_NC, int64_t N, int64_t C, float* scratch,
                              DeviceStream stream);

template <class T>
DeviceError rope(T* x, int64_t token_stride, const float* cosine, const float* sine, int64_t N, int64_t tokens,
                 int64_t heads, int64_t D, float sign, DeviceStream stream);

template <class T>
DeviceError swiglu_forward(T* y_NF, const T* gate_up_N2F, int64_t N, int64_t F, DeviceStream stream);
template <class T>
DeviceError swiglu_backward(T* dgate_up_N2F, const T* dy_NF, const T* gate_up_N2F, int64_t N, int64_t F,
                            DeviceStream stream);

template <class T>
DeviceError embedding_forward(T* y_NC, const T* table_VC, const int32_t* tokens_N, int64_t N, int64_t C,
                              DeviceStream stream);
template <class T>
DeviceError embedding_backward(float* dtable_VC, const T* dy_NC, const int32_t* tokens_N, int64_t N, int64_t V,
                               int64_t C, int32_t* scratch, DeviceStream stream);

/// T is that of dlogits.
template <class T>
DeviceError cross_entropy(float* loss_N, T* dlogits_NV, const float* logits_NV, const int32_t* labels_N, int64_t N,
                          int64_t V, float gradient_scale, DeviceStream stream);

template <class T>
DeviceError add(T* sum, const T* a, const T* b, int64_t n, DeviceStream stream);
template <class To, class From>
DeviceError convert(To* y, int64_t y_row, const From* x, int64_t x_row, int64_t rows, int64_t columns,
                    DeviceStream stream);
DeviceError sum_of_squares(double* sum, const float* x, int64_t n, double* scratch, DeviceStream stream);

DeviceError adamw(float* master, Bf16* weight, float* m, float* v, const float* gradient, int64_t n,
                  const AdamwStep* step, DeviceStream stream);

}  // namespace annulus::cuda
