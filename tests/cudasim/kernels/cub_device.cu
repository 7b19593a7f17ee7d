// Foreign code: CUB's device-wide algorithms, kernels and host part as nvcc compiles them.
#include "tests/cudasim/kernels/cub_device.h"

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_scan.cuh>

namespace {

// CUB's way: called without storage an algorithm says how much it needs.
template <class Algorithm>
cudaError_t with_storage(cudaStream_t stream, Algorithm algorithm) {
  size_t bytes = 0;
  void* storage = nullptr;
  if (const cudaError_t error = algorithm(storage, bytes)) return error;
  if (const cudaError_t error = cudaMallocAsync(&storage, bytes, stream)) return error;
  if (const cudaError_t error = algorithm(storage, bytes)) return error;
  return cudaFreeAsync(storage, stream);
}

}  // namespace

template <class T>
cudaError_t device_sum(T* result, const T* values, int n, cudaStream_t stream) {
  return with_storage(stream, [&](void* storage, size_t& bytes) {
    return cub::DeviceReduce::Sum(storage, bytes, values, result, n, stream);
  });
}
template <class T>
cudaError_t device_max(T* result, const T* values, int n, cudaStream_t stream) {
  return with_storage(stream, [&](void* storage, size_t& bytes) {
    return cub::DeviceReduce::Max(storage, bytes, values, result, n, stream);
  });
}
cudaError_t device_argmin(float* least, int64_t* where, const float* values, int64_t n, cudaStream_t stream) {
  return with_storage(stream, [&](void* storage, size_t& bytes) {
    return cub::DeviceReduce::ArgMin(storage, bytes, values, least, where, n, stream);
  });
}
template <class T>
cudaError_t device_inclusive_sum(T* sums, const T* values, int n, cudaStream_t stream) {
  return with_storage(stream, [&](void* storage, size_t& bytes) {
    return cub::DeviceScan::InclusiveSum(storage, bytes, values, sums, n, stream);
  });
}
template <class T>
cudaError_t device_exclusive_sum(T* sums, const T* values, int n, cudaStream_t stream) {
  return with_storage(stream, [&](void* storage, size_t& bytes) {
    return cub::DeviceScan::ExclusiveSum(storage, bytes, values, sums, n, stream);
  });
}
template <class Key>
cudaError_t device_sort_pairs(Key* sorted, int* sorted_values, const Key* keys, const int* values, int n,
                              cudaStream_t stream) {
  return with_storage(stream, [&](void* storage, size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(storage, bytes, keys, sorted, values, sorted_values, n, 0, 8 * sizeof(Key),
                                           stream);
  });
}

template cudaError_t device_sum(int*, const int*, int, cudaStream_t);
template cudaError_t device_sum(float*, const float*, int, cudaStream_t);
template cudaError_t device_sum(double*, const double*, int, cudaStream_t);
template cudaError_t device_sum(uint64_t*, const uint64_t*, int, cudaStream_t);
template cudaError_t device_max(float*, const float*, int, cudaStream_t);
template cudaError_t device_max(uint64_t*, const uint64_t*, int, cudaStream_t);
template cudaError_t device_inclusive_sum(int*, const int*, int, cudaStream_t);
template cudaError_t device_inclusive_sum(float*, const float*, int, cudaStream_t);
template cudaError_t device_exclusive_sum(uint64_t*, const uint64_t*, int, cudaStream_t);
template cudaError_t device_sort_pairs(float*, int*, const float*, const int*, int, cudaStream_t);
template cudaError_t device_sort_pairs(uint64_t*, int*, const uint64_t*, const int*, int, cudaStream_t);
