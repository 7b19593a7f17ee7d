// The table that libannulus_cuda.so exports: kernels/device_ops.h.
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <nccl.h>

#include <string>

#include "kernels/cuda/memory.h"
#include "kernels/cuda/ops.h"

namespace annulus::cuda {
namespace {

std::string dotted(int major, int minor, int patch) {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

// Of the libraries that were found at run time. None of these calls needs a driver.
std::string libraries() {
  int cuda = 0, major = 0, minor = 0, patch = 0, nccl = 0;
  cudaRuntimeGetVersion(&cuda);
  cublasGetProperty(MAJOR_VERSION, &major);
  cublasGetProperty(MINOR_VERSION, &minor);
  cublasGetProperty(PATCH_LEVEL, &patch);
  ncclGetVersion(&nccl);
  return "CUDA " + std::to_string(cuda / 1000) + "." + std::to_string(cuda % 1000 / 10) + ", cuBLAS " +
         dotted(major, minor, patch) + ", NCCL " + dotted(nccl / 10000, nccl / 100 % 100, nccl % 100);
}

template <class T>
DeviceElementOps<T> element_ops() {
  return {.rms_norm_forward = rms_norm_forward<T>,
          .rms_norm_backward = rms_norm_backward<T>,
          .rope = rope<T>,
          .swiglu_forward = swiglu_forward<T>,
          .swiglu_backward = swiglu_backward<T>,
          .embedding_forward = embedding_forward<T>,
          .embedding_backward = embedding_backward<T>,
          .cross_entropy = cross_entropy<T>,
          .add = add<T>,
          .from_f32 = convert<T, float>,
          .from_bf16 = convert<T, Bf16>};
}

DeviceOps make_ops() {
  static const std::string kLibraries = libraries();
  return {.abi = kDeviceAbi,
          .bytes = sizeof(DeviceOps),
          .libraries = kLibraries.c_str(),
          .architectures = ANNULUS_CUDA_ARCHITECTURES,
          .runtime_version = CUDART_VERSION,
          .compute_capability = kLeastCapability,
          .error_text = error_text,
          .summary = summary,
          .facts = facts,
          .select = select,
          .allocate = allocate,
          .release = release,
          .open_stream = open_stream,
          .close_stream = close_stream,
          .finish = finish,
          .copy = copy,
          .fill_zero = fill_zero,
          .f32 = element_ops<float>(),
          .bf16 = element_ops<Bf16>(),
          .sum_of_squares = sum_of_squares,
          .adamw = adamw};
}

}  // namespace
}  // namespace annulus::cuda

extern "C" [[gnu::visibility("default")]] const annulus::DeviceOps* annulus_device_ops() {
  static const annulus::DeviceOps kOps = annulus::cuda::make_ops();
  return &kOps;
}
