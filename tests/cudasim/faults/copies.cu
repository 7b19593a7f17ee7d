// Faults of asynchronous copies to shared memory.
#include "tests/cudasim/faults/kernels.h"

namespace annulus::cudasim::faults {
namespace {

__device__ void copy(float* to, const float* from) {
  const auto shared = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared), "l"(from) : "memory");
}
__device__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kNewest>
__device__ void wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
}

enum class Fault { kNone, kWait, kOthers, kRefill, kOneStage };

template <Fault kFault>
__global__ void pipeline_kernel(float* y, const float* x, int tiles) {
  __shared__ float stages[2][kTile];
  const auto i = threadIdx.x;
  const auto stage = [&](int tile) { return stages[kFault == Fault::kOneStage ? 0 : tile % 2]; };
  float sum = 0.0f;
  copy(stage(0) + i, x + i);
  commit();
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) copy(stage(tile + 1) + i, x + (tile + 1) * kTile + i);
    commit();
    wait<kFault == Fault::kWait ? 2 : 1>();
    if (kFault != Fault::kOthers) __syncthreads();
    sum += stage(tile)[kTile - 1 - i];
    if (kFault != Fault::kRefill) __syncthreads();
  }
  wait<0>();
  y[i] = sum;
}

template <bool kFaulty>
__global__ void source_overwritten_kernel(float* y, float* x) {
  __shared__ float tile[kTile];
  const auto i = threadIdx.x;
  copy(tile + i, x + i);
  commit();
  if (kFaulty) x[i] = -1.0f;
  wait<0>();
  y[i] = tile[i];
  if (!kFaulty) x[i] = -1.0f;
}

template <bool kFaulty>
__global__ void exit_in_flight_kernel(float* y, const float* x) {
  __shared__ float stages[2][kTile];
  const auto i = threadIdx.x;
  for (int tile = 0; tile < 2; ++tile) {
    copy(stages[tile] + i, x + tile * kTile + i);
    commit();
  }
  wait<1>();
  y[i] = stages[0][i];
  if (!kFaulty) wait<0>();
}

template <Fault kFault>
void pipeline(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream) {
  const auto kernel = faulty ? pipeline_kernel<kFault> : pipeline_kernel<Fault::kNone>;
  kernel<<<1, kTile, 0, stream>>>(y, x, tiles);
}

}  // namespace

void weak_wait(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream) {
  pipeline<Fault::kWait>(faulty, y, x, tiles, stream);
}
void copies_of_others(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream) {
  pipeline<Fault::kOthers>(faulty, y, x, tiles, stream);
}
void refill_while_read(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream) {
  pipeline<Fault::kRefill>(faulty, y, x, tiles, stream);
}
void one_stage_for_two(bool faulty, float* y, const float* x, int tiles, cudaStream_t stream) {
  pipeline<Fault::kOneStage>(faulty, y, x, tiles, stream);
}
void source_overwritten(bool faulty, float* y, float* x, cudaStream_t stream) {
  const auto kernel = faulty ? source_overwritten_kernel<true> : source_overwritten_kernel<false>;
  kernel<<<1, kTile, 0, stream>>>(y, x);
}
void exit_in_flight(bool faulty, float* y, const float* x, cudaStream_t stream) {
  const auto kernel = faulty ? exit_in_flight_kernel<true> : exit_in_flight_kernel<false>;
  kernel<<<1, kTile, 0, stream>>>(y, x);
}

}  // namespace annulus::cudasim::faults
