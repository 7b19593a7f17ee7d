// The entry points of cuBLAS that multiply matrices, on the CPU. Matrices are stored by columns; element (i, j) of the
// result is rounded once from a sum in double, so it agrees with a GPU's to the accuracy of an f32 sum.
#include <cublas_v2.h>
#include <fmt/format.h>

#include <cstring>
#include <vector>

#include "tests/cudasim/ptx/number.h"
#include "tests/cudasim/runtime/calls.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
};

using namespace annulus::cudasim;

namespace {

struct Matrix {
  uint64_t address;
  cudaDataType type;
  int64_t rows, columns, leading, stride;  // as stored; elements

  uint64_t width() const { return type == CUDA_R_32F ? 4 : 2; }
  uint64_t column(int64_t batch, int64_t j) const {
    return address + static_cast<uint64_t>(batch * stride + j * leading) * width();
  }
};

float widened(const uint8_t* bytes, cudaDataType type) {
  if (type == CUDA_R_32F) {
    float value;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return type == CUDA_R_16BF ? widen<Bfloat>(bits) : widen<Half>(bits);
}

void narrowed(uint8_t* bytes, cudaDataType type, float value) {
  if (type == CUDA_R_32F) {
    std::memcpy(bytes, &value, sizeof(value));
    return;
  }
  const auto wide = static_cast<double>(value);
  const uint16_t bits = type == CUDA_R_16BF ? narrow<Bfloat>(wide) : narrow<Half>(wide);
  std::memcpy(bytes, &bits, sizeof(bits));
}

class GemmWork : public Work {
 public:
  GemmWork(Matrix a, bool a_transposed, Matrix b, bool b_transposed, Matrix c, float alpha, float beta, int64_t inner,
           int64_t batches)
      : Work(fmt::format("product of {} x {} x {}", c.rows, c.columns, inner)),
        a_(a),
        b_(b),
        c_(c),
        a_transposed_(a_transposed),
        b_transposed_(b_transposed),
        alpha_(alpha),
        beta_(beta),
        inner_(inner),
        batches_(batches) {}

  bool step(Simulation& simulation, Stream& stream) override {
    simulation.begin(stream, *this);
    for (int64_t batch = 0; batch < batches_; ++batch) {
      const std::vector<float> a = fetch(simulation, a_, batch), b = fetch(simulation, b_, batch);
      const std::vector<float> old = beta_ == 0.0f ? std::vector<float>() : fetch(simulation, c_, batch);
      for (int64_t j = 0; j < c_.columns; ++j) multiply_column(simulation, a, b, old, batch, j);
    }
    return true;
  }

 private:
  static void touch(Simulation& simulation, const Matrix& m, int64_t batch, int64_t j, MemoryAccess::Kind kind) {
    const uint64_t bytes = static_cast<uint64_t>(m.rows) * m.width();
    simulation.memory().check(m.column(batch, j), bytes, kind == MemoryAccess::Kind::kRead ? "reads" : "writes");
    if (RaceDetector* races = simulation.races()) races->touch(m.column(batch, j), bytes, kind);
  }

  static std::vector<float> fetch(Simulation& simulation, const Matrix& m, int64_t batch) {
    std::vector<float> values;
    std::vector<uint8_t> column(static_cast<uint64_t>(m.rows) * m.width());
    for (int64_t j = 0; j < m.columns; ++j) {
      touch(simulation, m, batch, j, MemoryAccess::Kind::kRead);
      simulation.memory().read(column.data(), m.column(batch, j), column.size());
      for (int64_t i = 0; i < m.rows; ++i)
        values.push_back(widened(column.data() + static_cast<uint64_t>(i) * m.width(), m.type));
    }
    return values;
  }

  void multiply_column(Simulation& simulation, const std::vector<float>& a, const std::vector<float>& b,
                       const std::vector<float>& old, int64_t batch, int64_t j) {
    std::vector<uint8_t> column(static_cast<uint64_t>(c_.rows) * c_.width());
    for (int64_t i = 0; i < c_.rows; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < inner_; ++k)
        sum += static_cast<double>(a[static_cast<size_t>(a_transposed_ ? i * a_.rows + k : k * a_.rows + i)]) *
               static_cast<double>(b[static_cast<size_t>(b_transposed_ ? k * b_.rows + j : j * b_.rows + k)]);
      float value = alpha_ * static_cast<float>(sum);
      if (beta_ != 0.0f) value += beta_ * old[static_cast<size_t>(j * c_.rows + i)];
      narrowed(column.data() + static_cast<uint64_t>(i) * c_.width(), c_.type, value);
    }
    touch(simulation, c_, batch, j, MemoryAccess::Kind::kWrite);
    simulation.memory().write(c_.column(batch, j), column.data(), column.size());
  }

  Matrix a_, b_, c_;
  bool a_transposed_, b_transposed_;
  float alpha_, beta_;
  int64_t inner_, batches_;
};

bool known_type(cudaDataType type) { return type == CUDA_R_32F || type == CUDA_R_16BF || type == CUDA_R_16F; }

template <class Body>
cublasStatus_t cublas(Body body) {
  cublasStatus_t status = CUBLAS_STATUS_EXECUTION_FAILED;
  call([&](Simulation& simulation) {
    status = body(simulation);
    return cudaSuccess;
  });
  return status;
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  if (!Simulation::active()) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, cudaStream_t* stream) {
  *stream = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t, cublasPointerMode_t mode) {
  if (mode != CUBLAS_POINTER_MODE_HOST) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}
// Only modes that do not round the operands: TF32 would.
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t mode) {
  if ((mode & 0xf) != CUBLAS_DEFAULT_MATH && (mode & 0xf) != CUBLAS_PEDANTIC_MATH) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}
// A product needs none here.
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void*, size_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasGetProperty(libraryPropertyType type, int* value) {
  *value = type == MAJOR_VERSION ? CUBLAS_VER_MAJOR : type == MINOR_VERSION ? CUBLAS_VER_MINOR : CUBLAS_VER_PATCH;
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "an error of the simulated cuBLAS";
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t a_operation,
                                          cublasOperation_t b_operation, int m, int n, int k, const void* alpha,
                                          const void* a, cudaDataType a_type, int a_leading, long long a_stride,
                                          const void* b, cudaDataType b_type, int b_leading, long long b_stride,
                                          const void* beta, void* c, cudaDataType c_type, int c_leading,
                                          long long c_stride, int batches, cublasComputeType_t compute,
                                          cublasGemmAlgo_t) {
  return cublas([&](Simulation& simulation) {
    Stream* const stream = stream_of(simulation, handle->stream);
    if (stream == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!known_type(a_type) || a_type != b_type || !known_type(c_type) || a_operation == CUBLAS_OP_C ||
        b_operation == CUBLAS_OP_C || (a_type == CUDA_R_32F && c_type != CUDA_R_32F))
      return CUBLAS_STATUS_NOT_SUPPORTED;
    const bool a_turned = a_operation == CUBLAS_OP_T, b_turned = b_operation == CUBLAS_OP_T;
    const Matrix first{reinterpret_cast<uint64_t>(a), a_type, a_turned ? k : m, a_turned ? m : k, a_leading, a_stride};
    const Matrix second{reinterpret_cast<uint64_t>(b), b_type, b_turned ? n : k, b_turned ? k : n, b_leading, b_stride};
    const Matrix result{reinterpret_cast<uint64_t>(c), c_type, m, n, c_leading, c_stride};
    if (m < 0 || n < 0 || k < 0 || batches < 0 || first.leading < std::max<int64_t>(1, first.rows) ||
        second.leading < std::max<int64_t>(1, second.rows) || result.leading < std::max(1, m))
      return CUBLAS_STATUS_INVALID_VALUE;
    if (m == 0 || n == 0 || batches == 0) return CUBLAS_STATUS_SUCCESS;
    simulation.enqueue(*stream, std::make_unique<GemmWork>(first, a_turned, second, b_turned, result,
                                                           *static_cast<const float*>(alpha),
                                                           *static_cast<const float*>(beta), k, batches));
    return CUBLAS_STATUS_SUCCESS;
  });
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t a_operation, cublasOperation_t b_operation, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType a_type, int a_leading,
                            const void* b, cudaDataType b_type, int b_leading, const void* beta, void* c,
                            cudaDataType c_type, int c_leading, cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, a_operation, b_operation, m, n, k, alpha, a, a_type, a_leading, 0, b,
                                    b_type, b_leading, 0, beta, c, c_type, c_leading, 0, 1, compute, algorithm);
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t a_operation, cublasOperation_t b_operation,
                              int m, int n, int k, const float* alpha, const float* a, int a_leading, const float* b,
                              int b_leading, const float* beta, float* c, int c_leading) {
  return cublasGemmEx(handle, a_operation, b_operation, m, n, k, alpha, a, CUDA_R_32F, a_leading, b, CUDA_R_32F,
                      b_leading, beta, c, CUDA_R_32F, c_leading, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

}  // extern "C"
