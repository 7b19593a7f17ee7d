// Prints docs/GPU_KERNELS.md.
#include <fmt/format.h>

#include "tests/cudasim/product/kernel_facts.h"

namespace annulus::cudasim {
namespace {

constexpr const char* kHead = R"(# The GPU kernels, as far as no GPU is needed to know them

`build/dev/tests/cudasim/cudasim_kernel_page > docs/GPU_KERNELS.md` prints this page. No figure here is a time.

## Memory accesses
Counted while the kernels run on simulated GPUs (`docs/CUDASIM.md`), on tensors that begin and end with words of 16
bytes. A request is one instruction of a warp: 32 words of 16 bytes are 16 sectors of 32 bytes. Useful bytes are those
that threads asked for, of the sectors that move; above 1, lanes share a sector. The fewest sectors follow from the
tensors' sizes and from the passes over each. Wavefronts are those of shared memory, beside the fewest possible.

| kernel | passes | instructions an element | sectors a request | useful bytes | sectors / fewest | wavefronts / fewest |
|---|---|--:|--:|--:|--:|--:|
)";

constexpr const char* kResourcesHead = R"(
Kernels whose tensors are all f32 or all bf16 take 16 bytes of each at a time, `<4, float>` and `<8, Bf16>`. Those that
have both take four elements at a time, `<4, Bf16>`: 16 bytes of f32 and 8 bytes of bf16, which is 8 sectors a request.
Left out are kernels whose work is small beside these: sums of sums, and the order of tokens for the embedding's gradient.

## Registers, memory and occupancy
From ptxas (CUDA 13.0). `<1, ...>` are for tensors that do not divide into words. No kernel uses local memory. Occupancy
is the number of warps that a multiprocessor holds at a time, of at most 64; that of B200 is for the registers of sm_90a.
Registers alone keep it below 64. Below 40 are gradients that hold eight elements of four or five tensors at a time
(`rms_norm_dx`, `swiglu_backward` in bf16; with fewer registers the first spills), and kernels for one element whose
loops nvcc unrolls four times. A test holds all kernels to the warps, threads and shared bytes of this table.

| kernel | threads of a block | registers sm_80 | registers sm_90a | shared bytes | local bytes | warps on A100 | H100 | B200 |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
)";

void print_page() {
  fmt::print("{}", kHead);
  for (const KernelTraffic& one : kernel_traffic()) {
    const Counter& total = one.statistics.total;
    fmt::print("| `{}` | {} | {:.1f} | {:.1f} | {:.3f} | {:.3f} | {} |\n", one.name, one.passes,
               one.instructions_per_element(), one.statistics.sectors_per_request(), one.statistics.useful_bytes(),
               one.sectors_of_fewest(),
               total.shared_requests == 0 ? "" : fmt::format("{:.2f}", one.statistics.wavefronts_per_fewest()));
  }
  fmt::print("{}", kResourcesHead);
  for (const KernelResources& one : kernel_resources())
    fmt::print("| `{}` | {} | {} | {} | {} | {} | {} | {} | {} |\n", one.name, one.threads, one.a100.registers,
               one.h100.registers, one.a100.shared_bytes, one.a100.local_bytes + one.h100.local_bytes, one.warps[0],
               one.warps[1], one.warps[2]);
}

}  // namespace
}  // namespace annulus::cudasim

int main() { annulus::cudasim::print_page(); }
