#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/simd.h"

#define ANNULUS_TEXT(x) #x
#define ANNULUS_NAME(x) ANNULUS_TEXT(x)

namespace annulus::cpu::ANNULUS_ISA {

template <class T>
constexpr ElementKernels<T> kElementKernels = {
    .rms_norm_forward = rms_norm_forward<T>,
    .rms_norm_backward = rms_norm_backward<T>,
    .rope = rope<T>,
    .swiglu_forward = swiglu_forward<T>,
    .swiglu_backward = swiglu_backward<T>,
    .cross_entropy = cross_entropy<T>,
    .add = add<T>,
    .gemm_scratch_words = gemm_scratch_words<T>,
    .gemm = gemm<T>,
    .from_f32 = convert<T, float>,
    .from_bf16 = convert<T, Bf16>,
    .forward_scratch_floats = forward_scratch_floats<T>,
    .backward_scratch_floats = backward_scratch_floats<T>,
    .attention_forward = attention_forward<T>,
    .attention_backward = attention_backward<T>,
    .attention_delta = attention_delta<T>,
    .pack_values = pack_values<T>,
};

const IsaKernels kKernels = {
    .name = ANNULUS_NAME(ANNULUS_ISA),
    .query_block = Simd::kQueryBlock,
    .forward_state_floats = forward_state_floats,
    .f32 = kElementKernels<float>,
    .bf16 = kElementKernels<Bf16>,
    .sum_of_squares = sum_of_squares,
    .adamw = adamw,
    .exp2 = exp2_of,
    .exp2_bf16 = exp2_bf16_of,
    .fma_gflops = fma_gflops,
    .bf16_gflops = bf16_gflops,
#if defined(__AVX512BF16__)
    .has_bf16_products = true,
#else
    .has_bf16_products = false,
#endif
};

}  // namespace annulus::cpu::ANNULUS_ISA
