#pragma once
// What a GPU plugin (libannulus_cuda.so) does for the program, as a table of C functions behind one exported name,
// annulus_device_ops(). The program opens it at run time (kernels/device_plugin.h), so that it starts where there is no
// driver, and sees no CUDA header. Shapes are the front functions' business (kernels/*.h), which also say what each op
// computes: the semantics are those of the CPU's kernels, edges included.
#include <cstdint>

#include "kernels/adamw_step.h"
#include "runtime/core/bf16.h"

namespace annulus {

/// Of this file. A program and a plugin that differ in it do not work together.
constexpr int32_t kDeviceAbi = 2;

/// 0: well; otherwise DeviceOps::error_text says what went wrong. Errors of work that was only enqueued come out of a
/// later call, at the latest of finish().
using DeviceError = int32_t;

/// A queue of one device, whose work is done in order. Null is none.
using DeviceStream = void*;

enum class DeviceState : int32_t {
  kReady,      // there are GPUs, and the driver does for this plugin
  kNoDriver,   // not installed, or not in this container
  kOldDriver,  // older than what the plugin was built with
  kNoDevice,   // a driver that shows no GPU
  kOther,      // `error` says what
};

/// Of the machine.
struct DeviceSummary {
  DeviceState state;
  int32_t driver_version;  // the newest CUDA that the driver knows: 13000 is 13.0; 0 without a driver
  int32_t count;           // of the GPUs that are visible; 0 unless ready
  DeviceError error;       // where the state is kOther
};

struct DeviceFacts {
  char name[256];
  int64_t memory_bytes;
  int32_t compute_capability;  // 90 is 9.0
};

/// Tokens whose part of the gain's gradient rms_norm_backward adds up in one row of C floats of its scratch.
constexpr int64_t kDeviceTokensPerNormSum = 64;
/// Floats whose squares sum_of_squares adds up in one double of its scratch.
constexpr int64_t kDeviceFloatsPerSum = int64_t{1} << 14;
/// Tokens that embedding_backward orders together.
constexpr int64_t kDeviceTokensPerTile = 2048;
/// What it takes to order N tokens: two orders, the tokens, and 256 counts of each tile.
constexpr int64_t device_token_order_ints(int64_t N) {
  return 3 * N + 256 * ((N + kDeviceTokensPerTile - 1) / kDeviceTokensPerTile);
}

/// The kernels over activations and weights of one element type T, float or Bf16. Pointers are of the device, but for
/// none; every call is enqueued on the stream and returns at once. N counts tokens.
template <class T>
struct DeviceElementOps {
  DeviceError (*rms_norm_forward)(T* y_NC, float* rstd_N, const T* x_NC, const T* gain_C, int64_t N, int64_t C,
                                  float epsilon, DeviceStream stream);
  /// scratch: ceil(N / kDeviceTokensPerNormSum) rows of C floats. dx may be dy or residual.
  DeviceError (*rms_norm_backward)(T* dx_NC, float* dgain_C, const T* dy_NC, const T* x_NC, const float* rstd_N,
                                   const T* gain_C, const T* residual_NC, int64_t N, int64_t C, float* scratch,
                                   DeviceStream stream);
  /// N tokens, token_stride elements apart, of heads x D; token n has the angles of row n % tokens. sign: 1, or -1
  /// back.
  DeviceError (*rope)(T* x, int64_t token_stride, const float* cosine, const float* sine, int64_t N, int64_t tokens,
                      int64_t heads, int64_t D, float sign, DeviceStream stream);
  DeviceError (*swiglu_forward)(T* y_NF, const T* gate_up_N2F, int64_t N, int64_t F, DeviceStream stream);
  DeviceError (*swiglu_backward)(T* dgate_up_N2F, const T* dy_NF, const T* gate_up_N2F, int64_t N, int64_t F,
                                 DeviceStream stream);
  DeviceError (*embedding_forward)(T* y_NC, const T* table_VC, const int32_t* tokens_N, int64_t N, int64_t C,
                                   DeviceStream stream);
  /// scratch: device_token_order_ints(N).
  DeviceError (*embedding_backward)(float* dtable_VC, const T* dy_NC, const int32_t* tokens_N, int64_t N, int64_t V,
                                    int64_t C, int32_t* scratch, DeviceStream stream);
  /// dlogits: null for no gradient; of floats it may be the logits.
  DeviceError (*cross_entropy)(float* loss_N, T* dlogits_NV, const float* logits_NV, const int32_t* labels_N, int64_t N,
                               int64_t V, float gradient_scale, DeviceStream stream);
  DeviceError (*add)(T* sum, const T* a, const T* b, int64_t n, DeviceStream stream);  // sum may be a or b
  /// Rows of `columns` elements, y_row and x_row elements apart.
  DeviceError (*from_f32)(T* y, int64_t y_row, const float* x, int64_t x_row, int64_t rows, int64_t columns,
                          DeviceStream stream);
  DeviceError (*from_bf16)(T* y, int64_t y_row, const Bf16* x, int64_t x_row, int64_t rows, int64_t columns,
                           DeviceStream stream);
};

struct DeviceOps {
  int32_t abi;    // kDeviceAbi; these two stand first in every version
  int32_t bytes;  // sizeof(DeviceOps)

  const char* libraries;       // "CUDA 13.0, cuBLAS 13.0.2, NCCL 2.28.9": what it is linked with, for people
  const char* architectures;   // "80, 90a": what it has code for; later GPUs go by its PTX
  int32_t runtime_version;     // the CUDA that it was built with: 13000 is 13.0
  int32_t compute_capability;  // the least that its kernels run on: 80
  const char* (*error_text)(DeviceError);  // "cudaErrorMemoryAllocation: out of memory"

  DeviceSummary (*summary)();
  DeviceError (*facts)(int32_t device, DeviceFacts* facts);

  /// Which device the calling thread uses from here on.
  DeviceError (*select)(int32_t device);
  DeviceError (*allocate)(void** memory, int64_t bytes);  // aligned to 256 bytes
  DeviceError (*release)(void* memory);                   // waits until the device has done all of its work
  DeviceError (*open_stream)(DeviceStream* stream);
  DeviceError (*close_stream)(DeviceStream stream);
  DeviceError (*finish)(DeviceStream stream);  // waits until its work is done
  /// Either pointer is of the device or of the host; host memory must stay as it is until the stream has finished.
  DeviceError (*copy)(void* to, const void* from, int64_t bytes, DeviceStream stream);
  DeviceError (*fill_zero)(void* memory, int64_t bytes, DeviceStream stream);

  DeviceElementOps<float> f32;
  DeviceElementOps<Bf16> bf16;
  /// *sum = the sum of x^2, a double of the device. scratch: ceil(n / kDeviceFloatsPerSum) doubles.
  DeviceError (*sum_of_squares)(double* sum, const float* x, int64_t n, double* scratch, DeviceStream stream);
  /// weight: the master rounded; null where the master is the weight.
  DeviceError (*adamw)(float* master, Bf16* weight, float* m, float* v, const float* gradient, int64_t n,
                       const AdamwStep* step, DeviceStream stream);
};

/// The name that a plugin exports, and its type. The table lives as long as the program.
constexpr const char* kDeviceOpsName = "annulus_device_ops";
using DeviceOpsFunction = const DeviceOps*();

}  // namespace annulus
