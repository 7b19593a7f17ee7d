#pragma once
// Launchers of runtime_kernels.cu. They enqueue and return; errors come from cudaGetLastError().
#include <cuda_runtime_api.h>

/// y[i] = x[i] + a for n elements.
void add(float* y, const float* x, float a, int n, cudaStream_t stream);
/// sums[b] = the sum of block b's `threads` elements (a power of two), in dynamic shared memory.
void sum_dynamic(float* sums, const float* x, int blocks, int threads, size_t shared_bytes, cudaStream_t stream);
const void* sum_dynamic_stub();
/// Writes element n of y, which has n.
void write_beyond(float* y, int n, cudaStream_t stream);
/// A counter of the device, 3 before the first launch of add().
int* launches_on_device();
