#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/simd.h"

#define ANNULUS_TEXT(x) #x
#define ANNULUS_NAME(x) ANNULUS_TEXT(x)

namespace annulus::cpu::ANNULUS_ISA {

const IsaKernels kKernels = {
    .name = ANNULUS_NAME(ANNULUS_ISA),
    .query_block = Simd::kQueryBlock,
    .forward_state_floats = forward_state_floats,
    .forward_scratch_floats = forward_scratch_floats,
    .backward_scratch_floats = backward_scratch_floats,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .attention_delta = attention_delta,
    .rms_norm_forward = rms_norm_forward,
    .rms_norm_backward = rms_norm_backward,
    .rope = rope,
    .swiglu_forward = swiglu_forward,
    .swiglu_backward = swiglu_backward,
    .cross_entropy = cross_entropy,
    .add = add,
    .sum_of_squares = sum_of_squares,
    .adamw = adamw,
    .exp2 = exp2_of,
    .fma_gflops = fma_gflops,
};

}  // namespace annulus::cpu::ANNULUS_ISA
