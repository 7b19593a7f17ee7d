#pragma once
// The Simd type of the instruction set that this file is compiled for. kernels/cpu/per_isa/*.cpp are compiled once per
// instruction set, with ANNULUS_ISA = plain, avx2 or avx512 (CMakeLists.txt); everything in them lives in the
// namespace of that name, so that no inline function built for one CPU can be linked into code for another.
// Inlining is not a matter of taste here: accumulators must stay in registers.
#define ANNULUS_INLINE [[gnu::always_inline]] static inline  // of a member of Simd
#define ANNULUS_ALWAYS __attribute__((always_inline))        // of a lambda, before its body

#if defined(__AVX512F__)
#include "kernels/cpu/per_isa/simd_avx512.h"
#elif defined(__AVX2__)
#include "kernels/cpu/per_isa/simd_avx2.h"
#else
#include "kernels/cpu/per_isa/simd_plain.h"
#endif
