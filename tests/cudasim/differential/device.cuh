#pragma once

// Operations by the names that nvcc gives them: intrinsics, and PTX itself. host.h says what each means.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "tests/cudasim/differential/common.h"

namespace differential {

// clang-format off
#define PTX1_(name, R, r, A, a, text) \
  DIFFERENTIAL R name(A x) { R d; asm(text : r(d) : a(x)); return d; }
#define PTX2_(name, R, r, A, a, B, b, text) \
  DIFFERENTIAL R name(A x, B y) { R d; asm(text : r(d) : a(x), b(y)); return d; }
#define PTX3_(name, R, r, A, a, B, b, C, c, text) \
  DIFFERENTIAL R name(A x, B y, C z) { R d; asm(text : r(d) : a(x), b(y), c(z)); return d; }
#define PTX4_(name, R, r, A, a, B, b, C, c, D, e, text) \
  DIFFERENTIAL R name(A x, B y, C z, D w) { R d; asm(text : r(d) : a(x), b(y), c(z), e(w)); return d; }

#define PTX1(...) PTX1_(__VA_ARGS__)  // types are split into two arguments on the way
#define PTX2(...) PTX2_(__VA_ARGS__)
#define PTX3(...) PTX3_(__VA_ARGS__)
#define PTX4(...) PTX4_(__VA_ARGS__)
#define U32 uint32_t, "r"
#define S32 int32_t, "r"
#define U64 uint64_t, "l"
#define S64 int64_t, "l"
#define U16 uint16_t, "h"
#define S16 int16_t, "h"
#define F32 float, "f"
#define F64 double, "d"
#define TO_U32 uint32_t, "=r"
#define TO_S32 int32_t, "=r"
#define TO_U64 uint64_t, "=l"
#define TO_S64 int64_t, "=l"
#define TO_U16 uint16_t, "=h"
#define TO_S16 int16_t, "=h"
#define TO_F32 float, "=f"
#define TO_F64 double, "=d"

PTX3(bfe_u32, TO_U32, U32, U32, U32, "bfe.u32 %0, %1, %2, %3;")
PTX3(bfe_s32, TO_S32, S32, U32, U32, "bfe.s32 %0, %1, %2, %3;")
PTX3(bfe_u64, TO_U64, U64, U32, U32, "bfe.u64 %0, %1, %2, %3;")
PTX3(bfe_s64, TO_S64, S64, U32, U32, "bfe.s64 %0, %1, %2, %3;")
PTX4(bfi_32, TO_U32, U32, U32, U32, U32, "bfi.b32 %0, %1, %2, %3, %4;")
PTX4(bfi_64, TO_U64, U64, U64, U32, U32, "bfi.b64 %0, %1, %2, %3, %4;")
PTX2(bmsk_clamp, TO_U32, U32, U32, "bmsk.clamp.b32 %0, %1, %2;")
PTX2(bmsk_wrap, TO_U32, U32, U32, "bmsk.wrap.b32 %0, %1, %2;")
PTX1(bfind_u32, TO_U32, U32, "bfind.u32 %0, %1;")
PTX1(bfind_s32, TO_U32, S32, "bfind.s32 %0, %1;")
PTX1(bfind_u64, TO_U32, U64, "bfind.u64 %0, %1;")
PTX1(bfind_s64, TO_U32, S64, "bfind.s64 %0, %1;")
PTX1(bfind_shift_u32, TO_U32, U32, "bfind.shiftamt.u32 %0, %1;")
PTX1(bfind_shift_s64, TO_U32, S64, "bfind.shiftamt.s64 %0, %1;")
PTX3(mad_hi_s32, TO_S32, S32, S32, S32, "mad.hi.s32 %0, %1, %2, %3;")
PTX3(mad_hi_u32, TO_U32, U32, U32, U32, "mad.hi.u32 %0, %1, %2, %3;")
PTX3(mad_hi_s64, TO_S64, S64, S64, S64, "mad.hi.s64 %0, %1, %2, %3;")
PTX3(mad_hi_u64, TO_U64, U64, U64, U64, "mad.hi.u64 %0, %1, %2, %3;")
PTX3(mad_hi_sat_s32, TO_S32, S32, S32, S32, "mad.hi.sat.s32 %0, %1, %2, %3;")
PTX3(mad_lo_s16, TO_S16, S16, S16, S16, "mad.lo.s16 %0, %1, %2, %3;")
PTX2(mul_hi_s16, TO_S16, S16, S16, "mul.hi.s16 %0, %1, %2;")
PTX2(mul_hi_u16, TO_U16, U16, U16, "mul.hi.u16 %0, %1, %2;")
PTX2(mul_wide_s16, TO_S32, S16, S16, "mul.wide.s16 %0, %1, %2;")
PTX2(mul_wide_u16, TO_U32, U16, U16, "mul.wide.u16 %0, %1, %2;")
PTX3(mad_wide_s16, TO_S32, S16, S16, S32, "mad.wide.s16 %0, %1, %2, %3;")
PTX3(mad_wide_u16, TO_U32, U16, U16, U32, "mad.wide.u16 %0, %1, %2, %3;")
PTX3(mad_wide_s32, TO_S64, S32, S32, S64, "mad.wide.s32 %0, %1, %2, %3;")
PTX3(mad_wide_u32, TO_U64, U32, U32, U64, "mad.wide.u32 %0, %1, %2, %3;")
PTX2(mul24_hi_s32, TO_S32, S32, S32, "mul24.hi.s32 %0, %1, %2;")
PTX2(mul24_hi_u32, TO_U32, U32, U32, "mul24.hi.u32 %0, %1, %2;")
PTX3(mad24_lo_s32, TO_S32, S32, S32, S32, "mad24.lo.s32 %0, %1, %2, %3;")
PTX3(mad24_hi_u32, TO_U32, U32, U32, U32, "mad24.hi.u32 %0, %1, %2, %3;")
PTX2(add_sat_s32, TO_S32, S32, S32, "add.sat.s32 %0, %1, %2;")
PTX2(sub_sat_s32, TO_S32, S32, S32, "sub.sat.s32 %0, %1, %2;")
PTX3(sad_s16, TO_S16, S16, S16, S16, "sad.s16 %0, %1, %2, %3;")
PTX3(sad_u64, TO_U64, U64, U64, U64, "sad.u64 %0, %1, %2, %3;")
PTX3(sad_s64, TO_S64, S64, S64, S64, "sad.s64 %0, %1, %2, %3;")
PTX1(cnot_16, TO_U16, U16, "cnot.b16 %0, %1;")
PTX1(cnot_32, TO_U32, U32, "cnot.b32 %0, %1;")
PTX1(cnot_64, TO_U64, U64, "cnot.b64 %0, %1;")
PTX2(shl_16, TO_U16, U16, U32, "shl.b16 %0, %1, %2;")
PTX2(shl_64, TO_U64, U64, U32, "shl.b64 %0, %1, %2;")
PTX2(shr_s16, TO_S16, S16, U32, "shr.s16 %0, %1, %2;")
PTX2(shr_u32, TO_U32, U32, U32, "shr.u32 %0, %1, %2;")
PTX2(shr_s64, TO_S64, S64, U32, "shr.s64 %0, %1, %2;")
PTX3(prmt_f4e, TO_U32, U32, U32, U32, "prmt.b32.f4e %0, %1, %2, %3;")
PTX3(prmt_b4e, TO_U32, U32, U32, U32, "prmt.b32.b4e %0, %1, %2, %3;")
PTX3(prmt_rc8, TO_U32, U32, U32, U32, "prmt.b32.rc8 %0, %1, %2, %3;")
PTX3(prmt_ecl, TO_U32, U32, U32, U32, "prmt.b32.ecl %0, %1, %2, %3;")
PTX3(prmt_ecr, TO_U32, U32, U32, U32, "prmt.b32.ecr %0, %1, %2, %3;")
PTX3(prmt_rc16, TO_U32, U32, U32, U32, "prmt.b32.rc16 %0, %1, %2, %3;")
PTX2(set_lt_s32, TO_U32, S32, S32, "set.lt.u32.s32 %0, %1, %2;")
PTX2(set_ge_u64, TO_U32, U64, U64, "set.ge.u32.u64 %0, %1, %2;")
PTX2(set_gt_f32, TO_F32, F32, F32, "set.gt.f32.f32 %0, %1, %2;")
PTX2(set_leu_f64, TO_U32, F64, F64, "set.leu.u32.f64 %0, %1, %2;")
PTX2(set_num_f32, TO_S32, F32, F32, "set.num.s32.f32 %0, %1, %2;")
PTX2(set_equ_f32, TO_U32, F32, F32, "set.equ.u32.f32 %0, %1, %2;")
PTX2(set_ne_u16, TO_U32, U16, U16, "set.ne.u32.u16 %0, %1, %2;")
PTX3(slct_s32, TO_U32, U32, U32, S32, "slct.u32.s32 %0, %1, %2, %3;")
PTX3(slct_f32, TO_U64, U64, U64, F32, "slct.u64.f32 %0, %1, %2, %3;")
PTX3(slct_16, TO_U16, U16, U16, S32, "slct.u16.s32 %0, %1, %2, %3;")
PTX1(saturate_u8_s32, TO_S32, S32, "cvt.sat.u8.s32 %0, %1;")
PTX1(saturate_s8_s64, TO_S32, S64, "cvt.sat.s8.s64 %0, %1;")
PTX1(saturate_s8_u32, TO_S32, U32, "cvt.sat.s8.u32 %0, %1;")
PTX1(saturate_u16_s16, TO_U16, S16, "cvt.sat.u16.s16 %0, %1;")
PTX1(saturate_s16_u64, TO_S16, U64, "cvt.sat.s16.u64 %0, %1;")
PTX1(saturate_u32_s64, TO_U32, S64, "cvt.sat.u32.s64 %0, %1;")
PTX1(saturate_s32_u32, TO_S32, U32, "cvt.sat.s32.u32 %0, %1;")
PTX1(saturate_s32_s64, TO_S32, S64, "cvt.sat.s32.s64 %0, %1;")
PTX1(saturate_u64_s64, TO_U64, S64, "cvt.sat.u64.s64 %0, %1;")
PTX1(saturate_s64_u64, TO_S64, U64, "cvt.sat.s64.u64 %0, %1;")
PTX1(saturate_u64_s16, TO_U64, S16, "cvt.sat.u64.s16 %0, %1;")
PTX3(low_sum_carry, TO_U32, U32, U32, U32, "{.reg .u32 t; add.cc.u32 t, %1, %2; addc.cc.u32 t, %2, %3; addc.u32 %0, %3, %1;}")
PTX3(low_difference_carry, TO_U64, U64, U64, U64, "{.reg .u64 t; sub.cc.u64 t, %1, %2; subc.cc.u64 t, %2, %3; subc.u64 %0, %3, %1;}")
PTX3(mad_carry, TO_U64, U64, U64, U64, "{.reg .u64 t; mad.lo.cc.u64 t, %1, %2, %3; madc.hi.u64 %0, %1, %2, %3;}")
PTX3(madc_lo_carry, TO_U32, U32, U32, U32, "{.reg .u32 t; mad.hi.cc.u32 t, %1, %2, %3; madc.lo.cc.u32 t, t, %3, %1; addc.u32 %0, t, %2;}")
PTX1(test_finite, TO_U32, F32, "{.reg .pred p; testp.finite.f32 p, %1; selp.u32 %0, 1, 0, p;}")
PTX1(test_normal, TO_U32, F64, "{.reg .pred p; testp.normal.f64 p, %1; selp.u32 %0, 1, 0, p;}")
PTX1(test_subnormal, TO_U32, F32, "{.reg .pred p; testp.subnormal.f32 p, %1; selp.u32 %0, 1, 0, p;}")
PTX1(test_nan, TO_U32, F64, "{.reg .pred p; testp.notanumber.f64 p, %1; selp.u32 %0, 1, 0, p;}")
PTX2(add_ftz, TO_F32, F32, F32, "add.ftz.f32 %0, %1, %2;")
PTX2(sub_ftz_sat, TO_F32, F32, F32, "sub.ftz.sat.f32 %0, %1, %2;")
PTX2(mul_ftz, TO_F32, F32, F32, "mul.ftz.f32 %0, %1, %2;")
PTX3(fma_ftz, TO_F32, F32, F32, F32, "fma.rn.ftz.f32 %0, %1, %2, %3;")
PTX3(fma_sat, TO_F32, F32, F32, F32, "fma.rn.sat.f32 %0, %1, %2, %3;")
PTX2(mul_sat, TO_F32, F32, F32, "mul.sat.f32 %0, %1, %2;")
PTX2(div_ftz, TO_F32, F32, F32, "div.rn.ftz.f32 %0, %1, %2;")
PTX1(sqrt_ftz, TO_F32, F32, "sqrt.rn.ftz.f32 %0, %1;")
PTX1(rcp_ftz, TO_F32, F32, "rcp.rn.ftz.f32 %0, %1;")
PTX2(min_ftz, TO_F32, F32, F32, "min.ftz.f32 %0, %1, %2;")
PTX2(max_nan, TO_F32, F32, F32, "max.NaN.f32 %0, %1, %2;")
PTX2(min_nan, TO_F32, F32, F32, "min.NaN.f32 %0, %1, %2;")
PTX1(neg_ftz, TO_F32, F32, "neg.ftz.f32 %0, %1;")
PTX1(abs_ftz, TO_F32, F32, "abs.ftz.f32 %0, %1;")
PTX2(less_ftz, TO_U32, F32, F32, "{.reg .pred p; setp.lt.ftz.f32 p, %1, %2; selp.u32 %0, 1, 0, p;}")
PTX1(whole_ftz, TO_S32, F32, "cvt.rpi.ftz.s32.f32 %0, %1;")
PTX1(narrow_ftz, TO_F32, F64, "cvt.rn.ftz.f32.f64 %0, %1;")
PTX1(narrow_sat, TO_F32, F64, "cvt.rn.sat.f32.f64 %0, %1;")
PTX1(round_sat, TO_F32, F32, "cvt.rni.sat.f32.f32 %0, %1;")
PTX1(byte_of_float, TO_U32, F32, "cvt.rni.u8.f32 %0, %1;")
PTX1(signed_byte_of_double, TO_S32, F64, "cvt.rzi.s8.f64 %0, %1;")
PTX1(short_of_float, TO_S16, F32, "cvt.rmi.s16.f32 %0, %1;")
PTX1(short_of_double, TO_U16, F64, "cvt.rni.u16.f64 %0, %1;")
PTX1(float_of_byte, TO_F32, U32, "cvt.rn.f32.u8 %0, %1;")
PTX1(double_of_short, TO_F64, S16, "cvt.rn.f64.s16 %0, %1;")
// clang-format on

template <int kTable>
DIFFERENTIAL uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(d) : "r"(a), "r"(b), "r"(c), "n"(kTable));
  return d;
}

DIFFERENTIAL uint32_t bits_of(float a) { return a != a ? 0x7fffffff : __float_as_uint(a); }
DIFFERENTIAL uint64_t bits_of(double a) { return a != a ? ~0ull >> 1 : __double_as_longlong(a); }
DIFFERENTIAL uint16_t bits_of(Half a) { return (a.bits & 0x7fff) > 0x7c00 ? 0x7fff : a.bits; }
DIFFERENTIAL uint16_t bits_of(Bfloat a) { return (a.bits & 0x7fff) > 0x7f80 ? 0x7fff : a.bits; }
DIFFERENTIAL float float_of(uint32_t bits) { return __uint_as_float(bits); }
DIFFERENTIAL double double_of(uint64_t bits) { return __longlong_as_double(static_cast<long long>(bits)); }

DIFFERENTIAL int32_t mul24(int32_t a, int32_t b) { return __mul24(a, b); }
DIFFERENTIAL uint32_t mul24(uint32_t a, uint32_t b) { return __umul24(a, b); }
DIFFERENTIAL int32_t average(int32_t a, int32_t b) { return __hadd(a, b); }
DIFFERENTIAL uint32_t average(uint32_t a, uint32_t b) { return __uhadd(a, b); }
DIFFERENTIAL int32_t average_up(int32_t a, int32_t b) { return __rhadd(a, b); }
DIFFERENTIAL uint32_t average_up(uint32_t a, uint32_t b) { return __urhadd(a, b); }
DIFFERENTIAL uint32_t sad(int32_t a, int32_t b, uint32_t c) { return __sad(a, b, c); }
DIFFERENTIAL uint32_t sad(uint32_t a, uint32_t b, uint32_t c) { return __usad(a, b, c); }
DIFFERENTIAL int32_t count_ones(uint32_t a) { return __popc(a); }
DIFFERENTIAL int32_t count_ones(uint64_t a) { return __popcll(a); }
DIFFERENTIAL int32_t leading_zeros(uint32_t a) { return __clz(static_cast<int>(a)); }
DIFFERENTIAL int32_t leading_zeros(uint64_t a) { return __clzll(static_cast<long long>(a)); }
DIFFERENTIAL int32_t first_one(uint32_t a) { return __ffs(static_cast<int>(a)); }
DIFFERENTIAL int32_t first_one(uint64_t a) { return __ffsll(static_cast<long long>(a)); }
DIFFERENTIAL uint32_t reversed(uint32_t a) { return __brev(a); }
DIFFERENTIAL uint64_t reversed(uint64_t a) { return __brevll(a); }
DIFFERENTIAL uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) { return __byte_perm(a, b, selector); }
DIFFERENTIAL uint32_t funnel_left(uint32_t low, uint32_t high, uint32_t by) { return __funnelshift_l(low, high, by); }
DIFFERENTIAL uint32_t funnel_right(uint32_t low, uint32_t high, uint32_t by) { return __funnelshift_r(low, high, by); }
DIFFERENTIAL uint32_t funnel_left_clamp(uint32_t low, uint32_t high, uint32_t by) {
  return __funnelshift_lc(low, high, by);
}
DIFFERENTIAL uint32_t funnel_right_clamp(uint32_t low, uint32_t high, uint32_t by) {
  return __funnelshift_rc(low, high, by);
}
DIFFERENTIAL int32_t dot4(int32_t a, int32_t b, int32_t c) { return __dp4a(a, b, c); }
DIFFERENTIAL uint32_t dot4(uint32_t a, uint32_t b, uint32_t c) { return __dp4a(a, b, c); }
DIFFERENTIAL int32_t dot2_low(int32_t a, int32_t b, int32_t c) { return __dp2a_lo(a, b, c); }
DIFFERENTIAL uint32_t dot2_low(uint32_t a, uint32_t b, uint32_t c) { return __dp2a_lo(a, b, c); }
DIFFERENTIAL int32_t dot2_high(int32_t a, int32_t b, int32_t c) { return __dp2a_hi(a, b, c); }
DIFFERENTIAL uint32_t dot2_high(uint32_t a, uint32_t b, uint32_t c) { return __dp2a_hi(a, b, c); }
DIFFERENTIAL uint32_t bytes_sum(uint32_t a, uint32_t b) { return __vadd4(a, b); }
DIFFERENTIAL uint32_t bytes_least(uint32_t a, uint32_t b) { return __vmins4(a, b); }
DIFFERENTIAL uint32_t bytes_average(uint32_t a, uint32_t b) { return __vavgu4(a, b); }
DIFFERENTIAL uint32_t bytes_above(uint32_t a, uint32_t b) { return __vcmpgts4(a, b); }
DIFFERENTIAL uint32_t bytes_distance(uint32_t a, uint32_t b) { return __vabsdiffu4(a, b); }
DIFFERENTIAL uint32_t bytes_sum_clamped(uint32_t a, uint32_t b) { return __vaddss4(a, b); }

DIFFERENTIAL float smaller(float a, float b) { return fminf(a, b); }
DIFFERENTIAL float larger(float a, float b) { return fmaxf(a, b); }
DIFFERENTIAL double smaller(double a, double b) { return fmin(a, b); }
DIFFERENTIAL double larger(double a, double b) { return fmax(a, b); }
DIFFERENTIAL float fraction(float a) { return __saturatef(a); }

// Arithmetic and conversions rounded to the nearest, to zero, up and down.
#define DIRECTED(rounding, r)                                                                                   \
  template <>                                                                                                   \
  struct Directed<rounding> {                                                                                   \
    static DIFFERENTIAL float add(float a, float b) { return __fadd_##r(a, b); }                                \
    static DIFFERENTIAL float sub(float a, float b) { return __fsub_##r(a, b); }                                \
    static DIFFERENTIAL float mul(float a, float b) { return __fmul_##r(a, b); }                                \
    static DIFFERENTIAL float div(float a, float b) { return __fdiv_##r(a, b); }                                \
    static DIFFERENTIAL float fma(float a, float b, float c) { return __fmaf_##r(a, b, c); }                    \
    static DIFFERENTIAL float sqrt(float a) { return __fsqrt_##r(a); }                                          \
    static DIFFERENTIAL float rcp(float a) { return __frcp_##r(a); }                                            \
    static DIFFERENTIAL double add(double a, double b) { return __dadd_##r(a, b); }                             \
    static DIFFERENTIAL double sub(double a, double b) { return __dsub_##r(a, b); }                             \
    static DIFFERENTIAL double mul(double a, double b) { return __dmul_##r(a, b); }                             \
    static DIFFERENTIAL double div(double a, double b) { return __ddiv_##r(a, b); }                             \
    static DIFFERENTIAL double fma(double a, double b, double c) { return __fma_##r(a, b, c); }                 \
    static DIFFERENTIAL double sqrt(double a) { return __dsqrt_##r(a); }                                        \
    static DIFFERENTIAL double rcp(double a) { return __drcp_##r(a); }                                          \
    static DIFFERENTIAL float to_float(double a) { return __double2float_##r(a); }                              \
    static DIFFERENTIAL float to_float(int32_t a) { return __int2float_##r(a); }                                \
    static DIFFERENTIAL float to_float(uint32_t a) { return __uint2float_##r(a); }                              \
    static DIFFERENTIAL float to_float(int64_t a) { return __ll2float_##r(a); }                                 \
    static DIFFERENTIAL float to_float(uint64_t a) { return __ull2float_##r(a); }                               \
    static DIFFERENTIAL double to_double(int64_t a) { return __ll2double_##r(a); }                              \
    static DIFFERENTIAL double to_double(uint64_t a) { return __ull2double_##r(a); }                            \
    static DIFFERENTIAL int32_t to_s32(float a) { return __float2int_##r(a); }                                  \
    static DIFFERENTIAL uint32_t to_u32(float a) { return __float2uint_##r(a); }                                \
    static DIFFERENTIAL int64_t to_s64(float a) { return __float2ll_##r(a); }                                   \
    static DIFFERENTIAL uint64_t to_u64(float a) { return __float2ull_##r(a); }                                 \
    static DIFFERENTIAL int32_t to_s32(double a) { return __double2int_##r(a); }                                \
    static DIFFERENTIAL uint32_t to_u32(double a) { return __double2uint_##r(a); }                              \
    static DIFFERENTIAL int64_t to_s64(double a) { return __double2ll_##r(a); }                                 \
    static DIFFERENTIAL uint64_t to_u64(double a) { return __double2ull_##r(a); }                               \
    static DIFFERENTIAL int32_t to_s32(Half a) { return __half2int_##r(__ushort_as_half(a.bits)); }             \
    static DIFFERENTIAL uint64_t to_u64(Half a) { return __half2ull_##r(__ushort_as_half(a.bits)); }            \
    static DIFFERENTIAL int16_t to_s16(Half a) { return __half2short_##r(__ushort_as_half(a.bits)); }           \
    static DIFFERENTIAL uint32_t to_u32(Bfloat a) { return __bfloat162uint_##r(__ushort_as_bfloat16(a.bits)); } \
    static DIFFERENTIAL int64_t to_s64(Bfloat a) { return __bfloat162ll_##r(__ushort_as_bfloat16(a.bits)); }    \
    static DIFFERENTIAL Half to_half(float a) { return {__half_as_ushort(__float2half_##r(a))}; }               \
    static DIFFERENTIAL Half to_half(int32_t a) { return {__half_as_ushort(__int2half_##r(a))}; }               \
    static DIFFERENTIAL Half to_half(uint64_t a) { return {__half_as_ushort(__ull2half_##r(a))}; }              \
    static DIFFERENTIAL Half to_half(int16_t a) { return {__half_as_ushort(__short2half_##r(a))}; }             \
    static DIFFERENTIAL Bfloat to_bfloat(float a) { return {__bfloat16_as_ushort(__float2bfloat16_##r(a))}; }   \
    static DIFFERENTIAL Bfloat to_bfloat(uint32_t a) { return {__bfloat16_as_ushort(__uint2bfloat16_##r(a))}; } \
    static DIFFERENTIAL Bfloat to_bfloat(int64_t a) { return {__bfloat16_as_ushort(__ll2bfloat16_##r(a))}; }    \
  };
template <Rounding>
struct Directed;
DIRECTED(kNearest, rn)
DIRECTED(kZero, rz)
DIRECTED(kUp, ru)
DIRECTED(kDown, rd)

DIFFERENTIAL __half real(Half a) { return __ushort_as_half(a.bits); }
DIFFERENTIAL __nv_bfloat16 real(Bfloat a) { return __ushort_as_bfloat16(a.bits); }
DIFFERENTIAL Half wrapped(__half a) { return {__half_as_ushort(a)}; }
DIFFERENTIAL Bfloat wrapped(__nv_bfloat16 a) { return {__bfloat16_as_ushort(a)}; }
DIFFERENTIAL float widened(Half a) { return __half2float(real(a)); }
DIFFERENTIAL float widened(Bfloat a) { return __bfloat162float(real(a)); }
DIFFERENTIAL Half half_of(double a) { return wrapped(__double2half(a)); }
DIFFERENTIAL Bfloat bfloat_of(double a) { return wrapped(__double2bfloat16(a)); }
template <class S>
DIFFERENTIAL S small_add(S a, S b) {
  return wrapped(__hadd(real(a), real(b)));
}
template <class S>
DIFFERENTIAL S small_sub(S a, S b) {
  return wrapped(__hsub(real(a), real(b)));
}
template <class S>
DIFFERENTIAL S small_mul(S a, S b) {
  return wrapped(__hmul(real(a), real(b)));
}
template <class S>
DIFFERENTIAL S small_fma(S a, S b, S c) {
  return wrapped(__hfma(real(a), real(b), real(c)));
}
template <class S>
DIFFERENTIAL S small_fma_relu(S a, S b, S c) {
  return wrapped(__hfma_relu(real(a), real(b), real(c)));
}
template <class S>
DIFFERENTIAL S small_smaller(S a, S b) {
  return wrapped(__hmin(real(a), real(b)));
}
template <class S>
DIFFERENTIAL S small_larger_nan(S a, S b) {
  return wrapped(__hmax_nan(real(a), real(b)));
}
template <class S>
DIFFERENTIAL S small_negated(S a) {
  return wrapped(__hneg(real(a)));
}
template <class S>
DIFFERENTIAL S small_absolute(S a) {
  return wrapped(__habs(real(a)));
}
template <class S>
DIFFERENTIAL bool small_less(S a, S b) {
  return __hlt(real(a), real(b));
}
template <class S>
DIFFERENTIAL bool small_equal_or_nan(S a, S b) {
  return __hequ(real(a), real(b));
}
DIFFERENTIAL Half small_add_sat(Half a, Half b) { return wrapped(__hadd_sat(real(a), real(b))); }
DIFFERENTIAL Half small_fma_sat(Half a, Half b, Half c) { return wrapped(__hfma_sat(real(a), real(b), real(c))); }
DIFFERENTIAL Half small_floor(Half a) { return wrapped(hfloor(real(a))); }
DIFFERENTIAL Half small_rint(Half a) { return wrapped(hrint(real(a))); }

// Two at once: the second of fma(a, b, c) taken for the pairs (a, b), (b, c), (c, a).
DIFFERENTIAL Half pair_fma(Half a, Half b, Half c) {
  const __half2 all =
      __hfma2(__halves2half2(real(a), real(b)), __halves2half2(real(b), real(c)), __halves2half2(real(c), real(a)));
  return wrapped(__hadd(__low2half(all), __high2half(all)));
}
DIFFERENTIAL Bfloat pair_fma(Bfloat a, Bfloat b, Bfloat c) {
  const __nv_bfloat162 all = __hfma2(__halves2bfloat162(real(a), real(b)), __halves2bfloat162(real(b), real(c)),
                                     __halves2bfloat162(real(c), real(a)));
  return wrapped(__hadd(__low2bfloat16(all), __high2bfloat16(all)));
}
DIFFERENTIAL uint32_t pair_of(Bfloat, float a, float b) {  // a in the low half
  const __nv_bfloat162 two = __floats2bfloat162_rn(a, b);
  return static_cast<uint32_t>(__bfloat16_as_ushort(two.y)) << 16 | __bfloat16_as_ushort(two.x);
}
DIFFERENTIAL uint32_t pair_of(Half, float a, float b) {
  const __half2 two = __floats2half2_rn(a, b);
  return static_cast<uint32_t>(__half_as_ushort(two.y)) << 16 | __half_as_ushort(two.x);
}

}  // namespace differential
