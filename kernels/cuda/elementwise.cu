// Sums and conversions of whole buffers: bound by memory, every byte read and written once.
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/team.cuh"

namespace annulus::cuda {
namespace {

template <int kLanes, class T>
__global__ void __launch_bounds__(kThreads) add_kernel(T* sum, const T* a, const T* b, int64_t n) {
  for_all_pieces(1, ceil_div(n, kLanes), [&](int64_t, int64_t piece) {
    const int64_t at = piece * kLanes, count = n - at;
    Lanes<kLanes> x = load_first<kLanes>(a + at, count);
    const Lanes<kLanes> y = load_first<kLanes>(b + at, count);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) x[k] += y[k];
    store_first(sum + at, x, count);
  });
}

template <int kLanes, class To, class From>
__global__ void __launch_bounds__(kThreads)
    convert_kernel(To* y, int64_t y_row, const From* x, int64_t x_row, int64_t rows, int64_t columns) {
  for_all_pieces(rows, ceil_div(columns, kLanes), [&](int64_t row, int64_t piece) {
    const int64_t at = piece * kLanes, count = columns - at;
    store_first(y + row * y_row + at, load_first<kLanes>(x + row * x_row + at, count), count);
  });
}

// One block to kDeviceFloatsPerSum floats: at most 64 squares to a thread, so that sums in f32 are short.
template <int kLanes>
__global__ void __launch_bounds__(kThreads) squares_kernel(double* partial, const float* x, int64_t n) {
  const int64_t begin = blockIdx.x * kDeviceFloatsPerSum, left = n - begin;
  const int64_t floats = left < kDeviceFloatsPerSum ? left : kDeviceFloatsPerSum;
  float sum = 0.0f;
  for (int64_t i = threadIdx.x * kLanes; i < floats; i += kThreads * kLanes) {
    const Lanes<kLanes> v = load_first<kLanes>(x + begin + i, floats - i);
#pragma unroll
    for (int k = 0; k < kLanes; ++k) sum += v[k] * v[k];
  }
  sum = team_sum<kThreads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block.
__global__ void __launch_bounds__(kThreads) total_kernel(double* total, const double* partial, int64_t count) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += partial[i];
  sum = team_sum<kThreads>(sum);
  if (threadIdx.x == 0) *total = sum;
}

}  // namespace

template <class T>
DeviceError add(T* sum, const T* a, const T* b, int64_t n, DeviceStream stream) {
  if (n == 0) return cudaSuccess;
  constexpr int kLanes = kLanesOf<T>;
  const bool words = in_words<kLanes>(0, sum, a, b);
  const Grid grid = grid_over(1, ceil_div(n, words ? kLanes : 1));
  const auto kernel = words ? add_kernel<kLanes, T> : add_kernel<1, T>;
  kernel<<<grid.blocks, grid.threads, 0, stream_of(stream)>>>(sum, a, b, n);
  return launched();
}

template DeviceError add(float*, const float*, const float*, int64_t, DeviceStream);
template DeviceError add(Bf16*, const Bf16*, const Bf16*, int64_t, DeviceStream);

template <class To, class From>
DeviceError convert(To* y, int64_t y_row, const From* x, int64_t x_row, int64_t rows, int64_t columns,
                    DeviceStream stream) {
  if (rows == 0 || columns == 0) return cudaSuccess;
  constexpr int kLanes = sizeof(To) == sizeof(From) ? kLanesOf<To> : kLanesOfBoth;
  const bool words = in_words<kLanes>(rows == 1 ? 0 : y_row, y) && in_words<kLanes>(rows == 1 ? 0 : x_row, x);
  const Grid grid = grid_over(rows, ceil_div(columns, words ? kLanes : 1));
  const auto kernel = words ? convert_kernel<kLanes, To, From> : convert_kernel<1, To, From>;
  kernel<<<grid.blocks, grid.threads, 0, stream_of(stream)>>>(y, y_row, x, x_row, rows, columns);
  return launched();
}

template DeviceError convert(float*, int64_t, const float*, int64_t, int64_t, int64_t, DeviceStream);
template DeviceError convert(float*, int64_t, const Bf16*, int64_t, int64_t, int64_t, DeviceStream);
template DeviceError convert(Bf16*, int64_t, const float*, int64_t, int64_t, int64_t, DeviceStream);
template DeviceError convert(Bf16*, int64_t, const Bf16*, int64_t, int64_t, int64_t, DeviceStream);

DeviceError sum_of_squares(double* sum, const float* x, int64_t n, double* scratch, DeviceStream stream) {
  const int64_t sums = ceil_div(n, kDeviceFloatsPerSum);
  if (sums > 0) {
    constexpr int kLanes = kLanesOf<float>;
    const auto kernel = in_words<kLanes>(0, x) ? squares_kernel<kLanes> : squares_kernel<1>;
    kernel<<<static_cast<unsigned>(sums), kThreads, 0, stream_of(stream)>>>(scratch, x, n);
    if (const DeviceError error = launched()) return error;
  }
  total_kernel<<<1, kThreads, 0, stream_of(stream)>>>(sum, scratch, sums);
  return launched();
}

}  // namespace annulus::cuda
