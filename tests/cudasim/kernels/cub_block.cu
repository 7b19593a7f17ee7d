// Foreign code: the block algorithms of CUB, each in all of its variants. Thread t of a block has items t * kItems and
// on; a block's tile is kThreads * kItems items, of which the last block may have fewer.

#include <cub/block/block_load.cuh>
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/block/block_store.cuh>
#include <cuda/functional>

using u64 = unsigned long long;

template <class T, int kThreads, cub::BlockReduceAlgorithm kAlgorithm, class Combine>
__device__ void reduce(T* results, const T* values, int count, Combine combine) {
  using Reduce = cub::BlockReduce<T, kThreads, kAlgorithm>;
  __shared__ typename Reduce::TempStorage storage;
  const int first = blockIdx.x * kThreads, here = min(count - first, kThreads);
  const T value = threadIdx.x < here ? values[first + threadIdx.x] : T{};
  const T result = Reduce(storage).Reduce(value, combine, here);
  if (threadIdx.x == 0) results[blockIdx.x] = result;
}

// `sums` has the inclusive sums of each tile for itself, `before` the exclusive ones.
template <class T, int kThreads, int kItems, cub::BlockScanAlgorithm kAlgorithm, cub::BlockLoadAlgorithm kLoad,
          cub::BlockStoreAlgorithm kStore>
__device__ void scan(T* sums, T* before, T* totals, const T* values, int count) {
  using Load = cub::BlockLoad<T, kThreads, kItems, kLoad>;
  using Scan = cub::BlockScan<T, kThreads, kAlgorithm>;
  using Store = cub::BlockStore<T, kThreads, kItems, kStore>;
  __shared__ union {
    typename Load::TempStorage load;
    typename Scan::TempStorage scan;
    typename Store::TempStorage store;
  } storage;
  const int first = blockIdx.x * kThreads * kItems, here = min(count - first, kThreads * kItems);
  T items[kItems], results[kItems], total;
  Load(storage.load).Load(values + first, items, here, T{});
  __syncthreads();
  Scan(storage.scan).InclusiveSum(items, results);
  __syncthreads();
  Store(storage.store).Store(sums + first, results, here);
  __syncthreads();
  Scan(storage.scan).ExclusiveSum(items, results, total);
  __syncthreads();
  Store(storage.store).Store(before + first, results, here);
  if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

// Sorts each tile, the values going with their keys; what is missing from the last tile are greatest keys.
template <class Key, int kThreads, int kItems>
__device__ void sort(Key* keys, int* values, int count, Key greatest, bool descending) {
  using Sort = cub::BlockRadixSort<Key, kThreads, kItems, int>;
  __shared__ typename Sort::TempStorage storage;
  const int first = blockIdx.x * kThreads * kItems, mine = first + threadIdx.x * kItems;
  Key key[kItems];
  int value[kItems];
  for (int i = 0; i < kItems; ++i) {
    key[i] = mine + i < count ? keys[mine + i] : greatest;
    value[i] = mine + i < count ? values[mine + i] : -1;
  }
  __syncthreads();
  if (descending)
    Sort(storage).SortDescending(key, value);
  else
    Sort(storage).Sort(key, value);
  for (int i = 0; i < kItems; ++i) {
    if (mine + i >= count) continue;
    keys[mine + i] = key[i];
    values[mine + i] = value[i];
  }
}

#define REDUCE(name, T, threads, algorithm)                                              \
  extern "C" __global__ void reduce_sum_##name(T* results, const T* values, int count) { \
    reduce<T, threads, cub::algorithm>(results, values, count, cuda::std::plus<>{});     \
  }                                                                                      \
  extern "C" __global__ void reduce_max_##name(T* results, const T* values, int count) { \
    reduce<T, threads, cub::algorithm>(results, values, count, cuda::maximum<>{});       \
  }
REDUCE(int_raking, int, 96, BLOCK_REDUCE_RAKING)
REDUCE(int_shuffles, int, 96, BLOCK_REDUCE_WARP_REDUCTIONS)
REDUCE(float_commuting, float, 128, BLOCK_REDUCE_RAKING_COMMUTATIVE_ONLY)
REDUCE(float_shuffles, float, 77, BLOCK_REDUCE_WARP_REDUCTIONS)
REDUCE(double_raking, double, 160, BLOCK_REDUCE_RAKING)
REDUCE(double_shuffles, double, 64, BLOCK_REDUCE_WARP_REDUCTIONS)
REDUCE(u64_commuting, u64, 256, BLOCK_REDUCE_RAKING_COMMUTATIVE_ONLY)
REDUCE(u64_shuffles, u64, 45, BLOCK_REDUCE_WARP_REDUCTIONS)

#define SCAN(name, T, threads, items, algorithm, load, store)                                            \
  extern "C" __global__ void scan_##name(T* sums, T* before, T* totals, const T* values, int count) {    \
    scan<T, threads, items, cub::algorithm, cub::load, cub::store>(sums, before, totals, values, count); \
  }
SCAN(int_raking, int, 96, 3, BLOCK_SCAN_RAKING, BLOCK_LOAD_DIRECT, BLOCK_STORE_TRANSPOSE)
SCAN(float_memoize, float, 64, 4, BLOCK_SCAN_RAKING_MEMOIZE, BLOCK_LOAD_VECTORIZE, BLOCK_STORE_VECTORIZE)
SCAN(double_shuffles, double, 128, 1, BLOCK_SCAN_WARP_SCANS, BLOCK_LOAD_STRIPED, BLOCK_STORE_STRIPED)
SCAN(u64_shuffles, u64, 32, 5, BLOCK_SCAN_WARP_SCANS, BLOCK_LOAD_WARP_TRANSPOSE, BLOCK_STORE_WARP_TRANSPOSE)
SCAN(u64_raking, u64, 128, 2, BLOCK_SCAN_RAKING, BLOCK_LOAD_TRANSPOSE, BLOCK_STORE_DIRECT)

#define SORT(name, Key, threads, items)                                                                      \
  extern "C" __global__ void sort_##name(Key* keys, int* values, int count, Key greatest, bool descending) { \
    sort<Key, threads, items>(keys, values, count, greatest, descending);                                    \
  }
SORT(int, int, 64, 3)
SORT(float, float, 96, 2)
SORT(double, double, 32, 4)
SORT(u64, u64, 128, 1)
