// Must not compile: an array with an index that is known at run time only lies in local memory (tests/CMakeLists.txt).
__global__ void local_memory_kernel(float* sums, const int* where, int n) {
  float buckets[64] = {};
  for (int i = 0; i < n; ++i) buckets[where[i] % 64] += static_cast<float>(i);
  for (int i = 0; i < 64; ++i) sums[i] = buckets[i];
}
