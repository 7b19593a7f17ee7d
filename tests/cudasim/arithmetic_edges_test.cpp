// The edges of instructions, where one that is nearly right differs: carries, widths, signs, NaNs, roundings.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "tests/cudasim/expectations.h"

namespace annulus::cudasim {
namespace {

using Wide = unsigned __int128;

TEST(ArithmeticEdges, CarriesThatCarriesMake) {
  // a:a + b:~b, whose second word is often all ones before the carry comes.
  expect_all("not.b32 %r4, %r1; add.cc.u32 %r7, %r1, %r2; addc.cc.u32 %r8, %r1, %r4; addc.u32 %r9, %r3, 0;", "%r9",
             "u32", integers(), [](const Inputs& in) {
               const uint64_t a = low(in.a), first = a + low(in.b), second = a + low(~in.a) + (first >> 32);
               return low(in.c + (second >> 32));
             });
  expect_all("sub.cc.u32 %r7, %r1, %r2; subc.cc.u32 %r8, %r3, %r3; subc.u32 %r9, %r3, 0;", "%r9", "u32", integers(),
             [](const Inputs& in) { return low(in.c - (low(in.a) < low(in.b) ? 1 : 0)); });
  expect_all("sub.cc.u32 %r7, %r1, %r2; subc.cc.u32 %r8, %r2, %r3; subc.u32 %r9, 0, 0;", "%r9", "u32", integers(),
             [](const Inputs& in) {
               const uint64_t borrow = low(in.a) < low(in.b) ? 1 : 0;
               return low(in.b) < low(in.c) + borrow ? uint64_t{~0u} : 0;
             });
  expect_all("mad.lo.cc.u32 %r7, %r1, %r2, %r3; madc.hi.cc.u32 %r8, %r1, %r2, %r3; addc.u32 %r9, 0, 0;", "%r9", "u32",
             integers(), [](const Inputs& in) {
               const Wide c = Wide{low(in.c)} << 32 | low(in.c);
               return static_cast<uint64_t>((Wide{uint64_t{low(in.a)} * low(in.b)} + c) >> 64);
             });
}

TEST(ArithmeticEdges, Integers) {
  const auto check = [](const char* body, const std::function<uint32_t(uint32_t, uint32_t, uint32_t)>& f) {
    expect_all(body, "%r9", "u32", integers(), [&](const Inputs& in) { return f(low(in.a), low(in.b), low(in.c)); });
  };
  const auto dot = [](auto a_type, auto b_type) {
    return [=](uint32_t a, uint32_t b, uint32_t c) {
      for (int i = 0; i < 32; i += 8)
        c += static_cast<uint32_t>(static_cast<decltype(a_type)>(a >> i) * static_cast<decltype(b_type)>(b >> i));
      return c;
    };
  };
  check("dp4a.u32.u32 %r9, %r1, %r2, %r3;", dot(uint8_t{}, uint8_t{}));
  check("dp4a.s32.s32 %r9, %r1, %r2, %r3;", dot(int8_t{}, int8_t{}));
  check("dp4a.u32.s32 %r9, %r1, %r2, %r3;", dot(uint8_t{}, int8_t{}));
  check("sub.sat.s32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) {
    return low(static_cast<uint64_t>(std::clamp<int64_t>(int64_t{sign(a)} - sign(b), INT32_MIN, INT32_MAX)));
  });
  check("neg.s32 %r9, %r1;", [](uint32_t a, uint32_t, uint32_t) { return 0 - a; });
  check("rem.s32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) {
    return b == 0 ? a : low(static_cast<uint64_t>(int64_t{sign(a)} % sign(b)));
  });
  check("mad.hi.s32 %r9, %r1, %r2, %r3;", [](uint32_t a, uint32_t b, uint32_t c) {
    return low(static_cast<uint64_t>(int64_t{sign(a)} * sign(b)) >> 32) + c;
  });
  check("mad.lo.s32 %r8, %r1, 3, 4; max.s32 %r9, %r8, %r2;",
        [](uint32_t a, uint32_t b, uint32_t) { return sign(3 * a + 4) > sign(b) ? 3 * a + 4 : b; });
}

TEST(ArithmeticEdges, Bits) {
  const auto check = [](const char* body, const std::function<uint32_t(uint32_t, uint32_t, uint32_t)>& f) {
    expect_all(body, "%r9", "u32", integers(), [&](const Inputs& in) { return f(low(in.a), low(in.b), low(in.c)); });
  };
  const auto field = [](uint32_t a, uint32_t from, uint32_t count, bool is_signed) {
    uint32_t result = 0;  // bit by bit, as the manual says it
    const uint32_t first = from & 0xff, length = count & 0xff, last = std::min(first + length - 1, 31u);
    const bool fill = is_signed && length > 0 && (a >> last & 1) != 0;
    for (uint32_t i = 0; i < 32; ++i)
      result |= static_cast<uint32_t>((i < length && first + i <= 31) ? a >> (first + i) & 1 : fill ? 1 : 0) << i;
    return result;
  };
  check("bfe.u32 %r9, %r1, %r2, %r3;", [&](uint32_t a, uint32_t b, uint32_t c) { return field(a, b, c, false); });
  check("bfe.s32 %r9, %r1, %r2, %r3;", [&](uint32_t a, uint32_t b, uint32_t c) { return field(a, b, c, true); });
  check("bfi.b32 %r9, %r1, %r2, %r3, 9;", [](uint32_t a, uint32_t b, uint32_t c) {
    for (uint32_t i = 0, at = c & 0xff; i < 9 && at + i < 32; ++i)
      b = (b & ~(1u << (at + i))) | (a >> i & 1) << (at + i);
    return b;
  });
  check("prmt.b32 %r9, %r1, %r2, %r3;", [](uint32_t a, uint32_t b, uint32_t c) {
    uint32_t result = 0;
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t nibble = c >> (4 * i) & 15, byte = ((nibble & 4) != 0 ? b : a) >> (8 * (nibble & 3)) & 255;
      result |= ((nibble & 8) == 0 ? byte : (byte & 128) != 0 ? 255 : 0) << (8 * i);
    }
    return result;
  });
  check("bfind.s32 %r9, %r1;", [](uint32_t a, uint32_t, uint32_t) {
    const uint32_t bits = sign(a) < 0 ? ~a : a;
    return bits == 0 ? ~0u : 31 - static_cast<uint32_t>(std::countl_zero(bits));
  });
  check("bfind.shiftamt.u32 %r9, %r1;",
        [](uint32_t a, uint32_t, uint32_t) { return a == 0 ? ~0u : static_cast<uint32_t>(std::countl_zero(a)); });
  check("cnot.b32 %r9, %r1;", [](uint32_t a, uint32_t, uint32_t) { return a == 0 ? 1u : 0u; });
  check("shr.u32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) { return b > 31 ? 0 : a >> b; });
  check("and.b32 %r8, %r1, %r2; or.b32 %r9, %r8, %r3;", [](uint32_t a, uint32_t b, uint32_t c) { return (a & b) | c; });
  expect_all("shl.b64 %rd9, %rd1, %r2;", "%rd9", "u64", integers(),
             [](const Inputs& in) { return low(in.b) > 63 ? 0 : in.a << low(in.b); });
}

TEST(ArithmeticEdges, PredicatesTakeTheOthersIntoAccount) {
  const char* body =
      R"(setp.eq.u32 %p1, %r3, 0; setp.lt.and.s32 %p2|%p3, %r1, %r2, %p1; setp.lt.or.s32 %p4|%p5, %r1, %r2, %p1;
    setp.lt.xor.s32 %p6|%p7, %r1, %r2, %p1; selp.u32 %r4, 1, 0, %p2; @%p3 add.u32 %r4, %r4, 2; @%p4 add.u32 %r4, %r4, 4;
    @%p5 add.u32 %r4, %r4, 8; @%p6 add.u32 %r4, %r4, 16; @%p7 add.u32 %r4, %r4, 32; mov.u32 %r9, %r4;)";
  expect_all(body, "%r9", "u32", integers(), [](const Inputs& in) {
    const bool less = sign(in.a) < sign(in.b), zero = low(in.c) == 0;
    return uint64_t{less && zero} + 2 * uint64_t{!less && zero} + 4 * uint64_t{less || zero} +
           8 * uint64_t{!less || zero} + 16 * uint64_t{less != zero} + 32 * uint64_t{!less != zero};
  });
  expect_all("slct.u32.s32 %r9, %r1, %r2, %r3;", "%r9", "u32", integers(),
             [](const Inputs& in) { return sign(in.c) >= 0 ? low(in.a) : low(in.b); });
  expect_all("set.lt.u32.s32 %r9, %r1, %r2;", "%r9", "u32", integers(),
             [](const Inputs& in) { return sign(in.a) < sign(in.b) ? uint64_t{~0u} : 0; });
}

TEST(ArithmeticEdges, ComparisonsOfFloats) {
  const auto check = [](const char* test, bool (*expected)(float, float)) {
    const std::string body = std::string("setp.") + test + ".f32 %p1, %f1, %f2; selp.u32 %r9, 1, 0, %p1;";
    expect_all(body.c_str(), "%r9", "u32", floats(),
               [&](const Inputs& in) { return expected(f(in.a), f(in.b)) ? uint64_t{1} : 0; });
  };
  check("equ", [](float a, float b) { return a == b || std::isnan(a) || std::isnan(b); });
  check("neu", [](float a, float b) { return a != b; });
  check("ltu", [](float a, float b) { return !(a >= b); });
  check("geu", [](float a, float b) { return !(a < b); });
  check("gtu", [](float a, float b) { return !(a <= b); });
  check("num", [](float a, float b) { return !std::isnan(a) && !std::isnan(b); });
  check("nan", [](float a, float b) { return std::isnan(a) || std::isnan(b); });
  check("lt.ftz", [](float a, float b) { return flush(a) < flush(b); });
  expect_all("set.gt.f32.f32 %f9, %f1, %f2;", "%f9", "f32", floats(),
             [](const Inputs& in) { return bits(f(in.a) > f(in.b) ? 1.0f : 0.0f); });
}

// Zeros of both signs, infinities and NaNs among them; results to the bit.
TEST(ArithmeticEdges, MinimaAndMaxima) {
  const auto ordered = [](float a, float b) { return a < b || (a == b && std::signbit(a) && !std::signbit(b)); };
  const auto check = [&](const char* body, bool max, bool nan) {
    expect_all(body, "%f9", "f32", floats(), [&](const Inputs& in) {
      const float a = f(in.a), b = f(in.b);
      if (nan && (std::isnan(a) || std::isnan(b))) return bits(NAN);
      if (std::isnan(a) || std::isnan(b)) return bits(std::isnan(a) ? b : a);
      return bits(ordered(a, b) != max ? a : b);
    });
  };
  check("min.f32 %f9, %f1, %f2;", false, false);
  check("max.f32 %f9, %f1, %f2;", true, false);
  check("min.NaN.f32 %f9, %f1, %f2;", false, true);
  check("max.NaN.f32 %f9, %f1, %f2;", true, true);
  const char* wide =
      "cvt.f64.f32 %fd4, %f1; cvt.f64.f32 %fd5, %f2; max.f64 %fd6, %fd4, %fd5; cvt.rn.f32.f64 %f9, %fd6;";
  check(wide, true, false);
}

TEST(ArithmeticEdges, RoundingsAndSigns) {
  const auto directed = [](double exact, bool up) {
    const auto nearest = static_cast<float>(exact);
    if (up ? double{nearest} >= exact : double{nearest} <= exact) return nearest;
    return std::nextafter(nearest, up ? INFINITY : -INFINITY);
  };
  const auto product = [](const Inputs& in) { return double{f(in.a)} * double{f(in.b)}; };
  expect_all("mul.rm.f32 %f9, %f1, %f2;", "%f9", "f32", floats(), [&](const Inputs& in) {
    return std::isnan(product(in)) ? bits(NAN) : bits(directed(product(in), false));
  });
  expect_all("mul.rp.f32 %f9, %f1, %f2;", "%f9", "f32", floats(),
             [&](const Inputs& in) { return std::isnan(product(in)) ? bits(NAN) : bits(directed(product(in), true)); });
  expect_all("mul.sat.f32 %f9, %f1, %f2;", "%f9", "f32", floats(), [&](const Inputs& in) {
    const float value = f(in.a) * f(in.b);
    return bits(value > 0 ? std::fmin(value, 1.0f) : 0.0f);
  });
  expect_all("rcp.rn.f32 %f9, %f1;", "%f9", "f32", floats(), [](const Inputs& in) { return bits(1 / f(in.a)); });
  expect_all("sub.ftz.f32 %f9, %f1, %f2;", "%f9", "f32", floats(),
             [](const Inputs& in) { return bits(flush(flush(f(in.a)) - flush(f(in.b)))); });
  expect_all("copysign.f32 %f9, %f1, %f2;", "%f9", "f32", floats(),
             [](const Inputs& in) { return uint64_t{low(in.b) & 0x7fffffff} | (low(in.a) & 0x80000000); });
  expect_all("neg.f32 %f8, %f1; abs.f32 %f9, %f8;", "%f9", "f32", floats(),
             [](const Inputs& in) { return bits(std::fabs(f(in.a))); });
  const auto kind = [](const char* test, bool (*expected)(float)) {
    const std::string body = std::string("testp.") + test + ".f32 %p1, %f1; selp.u32 %r9, 1, 0, %p1;";
    expect_all(body.c_str(), "%r9", "u32", floats(),
               [&](const Inputs& in) { return expected(f(in.a)) ? uint64_t{1} : 0; });
  };
  kind("finite", [](float a) { return std::isfinite(a); });
  kind("infinite", [](float a) { return std::isinf(a); });
  kind("number", [](float a) { return !std::isnan(a); });
  kind("normal", [](float a) { return std::isnormal(a); });
  kind("subnormal", [](float a) { return std::fpclassify(a) == FP_SUBNORMAL; });
}

TEST(ArithmeticEdges, PairsOfHalves) {
  const auto half = [](uint64_t b) { return double{half_to_float(static_cast<uint16_t>(b))}; };
  const auto pair = [&](auto each) {
    return [=](const Inputs& in) {
      return uint64_t{each(half(in.a >> 16), half(in.b >> 16), half(in.c >> 16))} << 16 |
             uint64_t{each(half(in.a), half(in.b), half(in.c))};
    };
  };
  expect_all("sub.f16x2 %r9, %r1, %r2;", "%r9", "u32", integers(),
             pair([](double a, double b, double) { return narrow<Half>(a - b); }));  // exact: at most 52 bits
  expect_all("max.f16x2 %r9, %r1, %r2;", "%r9", "u32", floats(), pair([](double a, double b, double) {
               if (std::isnan(a) || std::isnan(b)) return narrow<Half>(std::isnan(a) ? b : a);
               return narrow<Half>(a == b ? (std::signbit(a) ? b : a) : std::max(a, b));
             }));
  expect_all("fma.rn.relu.f16x2 %r9, %r1, %r2, %r3;", "%r9", "u32", floats(), pair([](double a, double b, double c) {
               const long double exact = static_cast<long double>(a) * b + c;
               return exact <= 0 ? uint16_t{0} : narrow<Half>(odd_sum(a * b, c));
             }));
  expect_all("mul.ftz.f16x2 %r9, %r1, %r2;", "%r9", "u32", integers(), pair([](double a, double b, double) {
               const auto flushed = [](double x) { return std::fabs(x) < 0x1p-14 ? std::copysign(0.0, x) : x; };
               const uint16_t product = narrow<Half>(flushed(a) * flushed(b));
               return static_cast<uint16_t>((product & 0x7c00) == 0 ? product & 0x8000 : product);
             }));
  // 1.0625 squared lies half way between two bf16, and what is added to it, or taken away, decides.
  expect_all("fma.rn.bf16 %h9, %h1, %h2, %h3;", "%h9", "b16",
             {{0x3f88, 0x3f88, 0x0d80}, {0x3f88, 0x3f88, 0x8d80}, {0xbf88, 0x3f88, 0x8d80}, {0xbf88, 0x3f88, 0x0d80}},
             [](const Inputs& in) -> uint64_t {
               return (in.a & 0x8000) | ((in.a & 0x8000) == (in.c & 0x8000) ? 0x3f91 : 0x3f90);
             });
}

TEST(ArithmeticEdges, Conversions) {
  const auto to_s32 = [](float whole) -> uint64_t {
    if (std::isnan(whole)) return 0;
    return low(static_cast<uint64_t>(whole >= 0x1p31f    ? INT32_MAX
                                     : whole <= -0x1p31f ? INT32_MIN
                                                         : static_cast<int32_t>(whole)));
  };
  expect_all("cvt.rmi.s32.f32 %r9, %f1;", "%r9", "u32", floats(),
             [&](const Inputs& in) { return to_s32(std::floor(f(in.a))); });
  expect_all("cvt.rpi.s32.f32 %r9, %f1;", "%r9", "u32", floats(),
             [&](const Inputs& in) { return to_s32(std::ceil(f(in.a))); });
  expect_all("cvt.rni.s32.f32 %r9, %f1;", "%r9", "u32", floats(),
             [&](const Inputs& in) { return to_s32(std::nearbyint(f(in.a))); });
  expect_all("cvt.f64.f32 %fd4, %f1; cvt.rzi.s32.f64 %r9, %fd4;", "%r9", "u32",
             {{0x7fc00000, 0, 0}, {0xc1200000, 0, 0}},
             [](const Inputs& in) -> uint64_t { return in.a == 0x7fc00000 ? 0x80000000 : 0xfffffff6; });
  expect_all("cvt.sat.s8.s64 %r9, %rd1;", "%r9", "u32", integers(), [](const Inputs& in) {
    return low(static_cast<uint64_t>(std::clamp<int64_t>(static_cast<int64_t>(in.a), -128, 127)));
  });
  expect_all("cvt.sat.s32.u64 %r9, %rd1;", "%r9", "u32", integers(),
             [](const Inputs& in) { return std::min<uint64_t>(in.a, INT32_MAX); });
  expect_all("cvt.s8.u32 %r9, %r1;", "%r9", "u32", integers(),
             [](const Inputs& in) { return low(static_cast<uint64_t>(int64_t{static_cast<int8_t>(in.a)})); });
  expect_all("cvt.u16.s32 %rs9, %r1;", "%rs9", "u16", integers(), [](const Inputs& in) { return in.a & 0xffff; });
  expect_all("cvt.rn.f32.s64 %f9, %rd1;", "%f9", "f32", integers(),
             [](const Inputs& in) { return bits(static_cast<float>(static_cast<int64_t>(in.a))); });
  expect_all("cvt.rn.f16x2.f32 %r9, %f1, %f2;", "%r9", "b32", floats(), [](const Inputs& in) {
    return uint64_t{narrow<Half>(double{f(in.a)})} << 16 | narrow<Half>(double{f(in.b)});
  });
  expect_all("cvt.rn.relu.bf16x2.f32 %r9, %f1, %f2;", "%r9", "b32", floats(), [](const Inputs& in) {
    const auto relu = [](float x) { return x <= 0 ? uint64_t{0} : uint64_t{narrow<Bfloat>(double{x})}; };
    return relu(f(in.a)) << 16 | relu(f(in.b));
  });
  expect_all("cvt.rz.f16.f32 %h9, %f1;", "%h9", "b16", floats(),
             [](const Inputs& in) { return narrow<Half>(double{f(in.a)}, Rounding::kZero); });
  // Half way between two tf32 values: to the even one.
  expect_all("cvt.rn.tf32.f32 %r9, %f1;", "%r9", "b32", {{0x3f801000, 0, 0}, {0x3f803000, 0, 0}, {0x3f801001, 0, 0}},
             [](const Inputs& in) -> uint64_t {
               return in.a == 0x3f801000 ? 0x3f800000 : in.a == 0x3f803000 ? 0x3f804000 : 0x3f802000;
             });
}

// On the thread's own first input; what was there before, and what is there afterwards.
TEST(ArithmeticEdges, Atomics) {
  const auto check = [](const std::string& instruction,
                        const std::function<uint32_t(uint32_t, uint32_t, uint32_t)>& f) {
    const std::string body = "atom.global." + instruction + "; ld.global.u32 %r8, [%rd12]; mov.b64 %rd9, {%r7, %r8};";
    expect_all(body.c_str(), "%rd9", "u64", integers(),
               [&](const Inputs& in) { return uint64_t{f(low(in.a), low(in.b), low(in.c))} << 32 | low(in.a); });
  };
  check("add.u32 %r7, [%rd12], %r2", [](uint32_t a, uint32_t b, uint32_t) { return a + b; });
  check("min.s32 %r7, [%rd12], %r2", [](uint32_t a, uint32_t b, uint32_t) { return sign(a) < sign(b) ? a : b; });
  check("max.u32 %r7, [%rd12], %r2", [](uint32_t a, uint32_t b, uint32_t) { return std::max(a, b); });
  check("exch.b32 %r7, [%rd12], %r2", [](uint32_t, uint32_t b, uint32_t) { return b; });
  check("cas.b32 %r7, [%rd12], %r2, %r3", [](uint32_t a, uint32_t b, uint32_t c) { return a == b ? c : a; });
  check("inc.u32 %r7, [%rd12], %r2", [](uint32_t a, uint32_t b, uint32_t) { return a >= b ? 0 : a + 1; });
  check("dec.u32 %r7, [%rd12], %r2", [](uint32_t a, uint32_t b, uint32_t) { return a == 0 || a > b ? b : a - 1; });
  check("and.b32 %r7, [%rd12], %r2", [](uint32_t a, uint32_t b, uint32_t) { return a & b; });
  check("add.noftz.f16x2 %r7, [%rd12], %r2", [](uint32_t a, uint32_t b, uint32_t) {
    const auto half = [](uint32_t x) { return double{half_to_float(static_cast<uint16_t>(x))}; };
    return uint32_t{narrow<Half>(half(a >> 16) + half(b >> 16))} << 16 | narrow<Half>(half(a) + half(b));
  });
}

}  // namespace
}  // namespace annulus::cudasim
