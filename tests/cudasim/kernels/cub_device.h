#pragma once
// Launchers of cub_device.cu: CUB's device-wide algorithms on a stream, temporary storage included. They enqueue and
// return what CUB or the runtime says. Pointers are the device's.
#include <cuda_runtime_api.h>

#include <cstdint>

/// *result = the sum or the greatest of n values; T is int, float, double or uint64_t (greatest: float or uint64_t).
template <class T>
cudaError_t device_sum(T* result, const T* values, int n, cudaStream_t stream);
template <class T>
cudaError_t device_max(T* result, const T* values, int n, cudaStream_t stream);
/// The least value and where it first stands.
cudaError_t device_argmin(float* least, int64_t* where, const float* values, int64_t n, cudaStream_t stream);
/// sums[i] = values[0] + .. + values[i], the exclusive one without values[i]; T is int or float, exclusive uint64_t.
template <class T>
cudaError_t device_inclusive_sum(T* sums, const T* values, int n, cudaStream_t stream);
template <class T>
cudaError_t device_exclusive_sum(T* sums, const T* values, int n, cudaStream_t stream);
/// Sorts n keys with a value each, stable and ascending; Key is float or uint64_t.
template <class Key>
cudaError_t device_sort_pairs(Key* sorted, int* sorted_values, const Key* keys, const int* values, int n,
                              cudaStream_t stream);
