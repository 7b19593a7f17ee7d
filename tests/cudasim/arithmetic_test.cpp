// Instructions in hand-written PTX against the host's arithmetic, bit for bit.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>

#include "tests/cudasim/expectations.h"

namespace annulus::cudasim {
namespace {

TEST(Arithmetic, Integers32) {
  const auto check = [](const char* body, const std::function<uint32_t(uint32_t, uint32_t, uint32_t)>& f) {
    expect_all(body, "%r9", "u32", integers(), [&](const Inputs& in) { return f(low(in.a), low(in.b), low(in.c)); });
  };
  check("add.s32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) { return a + b; });
  check("sub.u32 %r9, %r1, 7;", [](uint32_t a, uint32_t, uint32_t) { return a - 7; });
  check("mad.lo.s32 %r9, %r1, %r2, %r3;", [](uint32_t a, uint32_t b, uint32_t c) { return a * b + c; });
  check("mul.hi.u32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) { return low(uint64_t{a} * b >> 32); });
  check("mul.hi.s32 %r9, %r1, %r2;",
        [](uint32_t a, uint32_t b, uint32_t) { return low(static_cast<uint64_t>(int64_t{sign(a)} * sign(b)) >> 32); });
  check("div.u32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) { return b == 0 ? ~0u : a / b; });
  check("rem.u32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) { return b == 0 ? a : a % b; });
  check("div.s32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) {
    return b == 0 ? ~0u : low(static_cast<uint64_t>(int64_t{sign(a)} / sign(b)));
  });
  check("min.s32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) { return sign(a) < sign(b) ? a : b; });
  check("max.u32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) { return std::max(a, b); });
  check("abs.s32 %r9, %r1;", [](uint32_t a, uint32_t, uint32_t) { return sign(a) < 0 ? 0 - a : a; });
  check("add.sat.s32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) {
    return low(static_cast<uint64_t>(std::clamp<int64_t>(int64_t{sign(a)} + sign(b), INT32_MIN, INT32_MAX)));
  });
  check("sad.s32 %r9, %r1, %r2, %r3;",
        [](uint32_t a, uint32_t b, uint32_t c) { return (sign(a) < sign(b) ? b - a : a - b) + c; });
}

TEST(Arithmetic, ProductsOfParts) {
  const auto check = [](const char* body, const std::function<uint32_t(uint32_t, uint32_t, uint32_t)>& f) {
    expect_all(body, "%r9", "u32", integers(), [&](const Inputs& in) { return f(low(in.a), low(in.b), low(in.c)); });
  };
  const auto signed24 = [](uint32_t a) { return int64_t{sign(a << 8) >> 8}; };
  check("mul24.lo.s32 %r9, %r1, %r2;",
        [&](uint32_t a, uint32_t b, uint32_t) { return low(static_cast<uint64_t>(signed24(a) * signed24(b))); });
  check("mul24.hi.u32 %r9, %r1, %r2;",
        [](uint32_t a, uint32_t b, uint32_t) { return low(uint64_t{a & 0xffffff} * (b & 0xffffff) >> 16); });
  check("mad24.hi.s32 %r9, %r1, %r2, %r3;", [&](uint32_t a, uint32_t b, uint32_t c) {
    return low(static_cast<uint64_t>(signed24(a) * signed24(b) >> 16)) + c;
  });
  check("mad.hi.sat.s32 %r9, %r1, %r2, %r3;", [](uint32_t a, uint32_t b, uint32_t c) {
    const int64_t sum = (int64_t{sign(a)} * sign(b) >> 32) + sign(c);
    return low(static_cast<uint64_t>(std::clamp<int64_t>(sum, INT32_MIN, INT32_MAX)));
  });
  check("dp2a.hi.s32.u32 %r9, %r1, %r2, %r3;", [](uint32_t a, uint32_t b, uint32_t c) {
    return c + low(static_cast<uint64_t>(int64_t{static_cast<int16_t>(a)} * (b >> 16 & 0xff) +
                                         int64_t{static_cast<int16_t>(a >> 16)} * (b >> 24)));
  });
  check("vabsdiff4.u32.u32.u32 %r9, %r1, %r2, %r3;", [](uint32_t a, uint32_t b, uint32_t) {
    uint32_t all = 0;
    for (int at = 0; at < 32; at += 8)
      all |= low(static_cast<uint64_t>(std::abs(sign(a >> at & 0xff) - sign(b >> at & 0xff)))) << at;
    return all;
  });
  check("vabsdiff2.u32.u32.u32.add %r9, %r1, %r2, %r3;", [](uint32_t a, uint32_t b, uint32_t c) {
    return c + low(static_cast<uint64_t>(std::abs(sign(a & 0xffff) - sign(b & 0xffff)))) +
           low(static_cast<uint64_t>(std::abs(sign(a >> 16) - sign(b >> 16))));
  });
}

TEST(Arithmetic, Integers16And64) {
  expect_all("mul.wide.s16 %r9, %rs1, %rs2;", "%r9", "u32", integers(), [](const Inputs& in) {
    return low(static_cast<uint64_t>(static_cast<int16_t>(in.a)) * static_cast<uint64_t>(static_cast<int16_t>(in.b)));
  });
  expect_all("mul.lo.u16 %rs9, %rs1, %rs2;", "%rs9", "u16", integers(),
             [](const Inputs& in) { return in.a * in.b & 0xffff; });
  expect_all("shr.s16 %rs9, %rs1, %r2;", "%rs9", "u16", integers(), [](const Inputs& in) {
    return static_cast<uint16_t>(static_cast<int16_t>(in.a) >> std::min(low(in.b), 15u));
  });
  expect_all("mul.wide.u32 %rd9, %r1, %r2;", "%rd9", "u64", integers(),
             [](const Inputs& in) { return uint64_t{low(in.a)} * low(in.b); });
  expect_all("mul.hi.u64 %rd9, %rd1, %rd2;", "%rd9", "u64", integers(),
             [](const Inputs& in) { return static_cast<uint64_t>(static_cast<unsigned __int128>(in.a) * in.b >> 64); });
  expect_all("mad.wide.s32 %rd9, %r1, %r2, %rd3;", "%rd9", "u64", integers(),
             [](const Inputs& in) { return static_cast<uint64_t>(int64_t{sign(in.a)} * sign(in.b)) + in.c; });
  expect_all("rem.u64 %rd9, %rd1, %rd2;", "%rd9", "u64", integers(),
             [](const Inputs& in) { return in.b == 0 ? in.a : in.a % in.b; });
}

TEST(Arithmetic, CarriesMake128BitSums) {
  const char* body = "add.cc.u64 %rd8, %rd1, %rd2; addc.u64 %rd9, %rd1, %rd3;";
  expect_all(body, "%rd9", "u64", integers(),
             [](const Inputs& in) { return in.a + in.c + (in.a + in.b < in.a ? 1 : 0); });
  const char* minus = "sub.cc.u32 %r8, %r1, %r2; subc.u32 %r9, %r1, %r3;";
  expect_all(minus, "%r9", "u32", integers(),
             [](const Inputs& in) { return low(in.a - in.c - (low(in.a) < low(in.b) ? 1 : 0)); });
  const char* product = "mad.lo.cc.u32 %r8, %r1, %r2, %r3; madc.hi.u32 %r9, %r1, %r2, 0;";
  expect_all(product, "%r9", "u32", integers(),
             [](const Inputs& in) { return low((uint64_t{low(in.a)} * low(in.b) + low(in.c)) >> 32); });
}

TEST(Arithmetic, Bits) {
  const auto check = [](const char* body, const std::function<uint32_t(uint32_t, uint32_t, uint32_t)>& f) {
    expect_all(body, "%r9", "u32", integers(), [&](const Inputs& in) { return f(low(in.a), low(in.b), low(in.c)); });
  };
  check("shl.b32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) { return b > 31 ? 0 : a << b; });
  check("shr.s32 %r9, %r1, %r2;",
        [](uint32_t a, uint32_t b, uint32_t) { return low(static_cast<uint64_t>(sign(a) >> std::min(b, 31u))); });
  check("shf.l.wrap.b32 %r9, %r1, %r2, %r3;",
        [](uint32_t a, uint32_t b, uint32_t c) { return low(((uint64_t{b} << 32 | a) << (c & 31)) >> 32); });
  check("shf.r.clamp.b32 %r9, %r1, %r2, %r3;",
        [](uint32_t a, uint32_t b, uint32_t c) { return low((uint64_t{b} << 32 | a) >> std::min(c, 32u)); });
  check("lop3.b32 %r9, %r1, %r2, %r3, 0x96;", [](uint32_t a, uint32_t b, uint32_t c) { return a ^ b ^ c; });
  check("lop3.b32 %r9, %r1, %r2, %r3, 0xca;", [](uint32_t a, uint32_t b, uint32_t c) { return (a & b) | (~a & c); });
  check("bfe.u32 %r9, %r1, 5, 9;", [](uint32_t a, uint32_t, uint32_t) { return a >> 5 & 0x1ff; });
  check("bfe.s32 %r9, %r1, 28, 9;",
        [](uint32_t a, uint32_t, uint32_t) { return low(static_cast<uint64_t>(sign(a) >> 28)); });
  check("bfi.b32 %r9, %r1, %r2, 4, 8;",
        [](uint32_t a, uint32_t b, uint32_t) { return (b & ~0xff0u) | (a << 4 & 0xff0); });
  check("prmt.b32 %r9, %r1, %r2, 0x7e10;", [](uint32_t a, uint32_t b, uint32_t) {
    return (b & 0xff000000) | (b & 0x00800000 ? 0x00ff0000 : 0) | (a & 0xffff);
  });
  check("bmsk.clamp.b32 %r9, %r1, %r2;", [](uint32_t a, uint32_t b, uint32_t) {
    return a > 31 ? 0 : low(((uint64_t{1} << std::min(b, 32u)) - 1) << a);
  });
  check("bmsk.wrap.b32 %r9, %r1, %r2;",
        [](uint32_t a, uint32_t b, uint32_t) { return ((1u << (b & 31)) - 1) << (a & 31); });
  check("popc.b32 %r9, %r1;", [](uint32_t a, uint32_t, uint32_t) { return static_cast<uint32_t>(std::popcount(a)); });
  check("clz.b32 %r9, %r1;", [](uint32_t a, uint32_t, uint32_t) { return static_cast<uint32_t>(std::countl_zero(a)); });
  check("brev.b32 %r8, %r1; brev.b32 %r9, %r8;", [](uint32_t a, uint32_t, uint32_t) { return a; });
  check("bfind.u32 %r9, %r1;",
        [](uint32_t a, uint32_t, uint32_t) { return a == 0 ? ~0u : 31 - static_cast<uint32_t>(std::countl_zero(a)); });
}

TEST(Arithmetic, PredicatesAndSelections) {
  const char* body = R"(setp.lt.s32 %p1|%p2, %r1, %r2; setp.ne.and.u32 %p3, %r2, %r3, !%p1; or.pred %p4, %p2, %p3;
    selp.b32 %r8, 1, 0, %p1; @%p3 add.u32 %r8, %r8, 2; @!%p4 add.u32 %r8, %r8, 4; slct.s32.s32 %r7, %r8, 100, %r3;
    set.gt.u32.u32 %r6, %r1, %r2; and.b32 %r6, %r6, 8; add.u32 %r9, %r6, %r7;)";
  expect_all(body, "%r9", "u32", integers(), [](const Inputs& in) {
    const bool less = sign(in.a) < sign(in.b), differs = low(in.b) != low(in.c) && !less;
    const uint32_t sum = (less ? 1u : 0u) + (differs ? 2 : 0) + (!less || differs ? 0 : 4);
    return (sign(in.c) >= 0 ? sum : 100) + (low(in.a) > low(in.b) ? 8 : 0);
  });
}

TEST(Arithmetic, Floats) {
  expect_all("add.f32 %f9, %f1, %f2;", "%f9", "f32", floats(),
             [](const Inputs& in) { return bits(f(in.a) + f(in.b)); });
  expect_all("fma.rn.f32 %f9, %f1, %f2, %f3;", "%f9", "f32", floats(),
             [](const Inputs& in) { return bits(std::fmaf(f(in.a), f(in.b), f(in.c))); });
  expect_all("mul.ftz.f32 %f9, %f1, %f2;", "%f9", "f32", floats(),
             [](const Inputs& in) { return bits(flush(flush(f(in.a)) * flush(f(in.b)))); });
  expect_all("div.rn.f32 %f9, %f1, %f2;", "%f9", "f32", floats(),
             [](const Inputs& in) { return bits(f(in.a) / f(in.b)); });
  expect_all("sqrt.rn.f32 %f9, %f1;", "%f9", "f32", floats(),
             [](const Inputs& in) { return bits(std::sqrt(f(in.a))); });
  expect_all("min.f32 %f9, %f1, %f2;", "%f9", "f32", floats(), [](const Inputs& in) {
    return bits(f(in.a) == f(in.b) && std::signbit(f(in.a)) ? f(in.a)
                : f(in.a) == f(in.b)                        ? f(in.b)
                                                            : std::fmin(f(in.a), f(in.b)));
  });
  expect_all("add.sat.f32 %f9, %f1, %f2;", "%f9", "f32", floats(), [](const Inputs& in) {
    const float sum = f(in.a) + f(in.b);
    return bits(sum > 0 ? std::fmin(sum, 1.0f) : 0.0f);
  });
  // Rounded towards zero: the product of two floats is exact in double.
  expect_all("mul.rz.f32 %f9, %f1, %f2;", "%f9", "f32", floats(), [](const Inputs& in) {
    const double exact = double{f(in.a)} * double{f(in.b)};
    float nearest = static_cast<float>(exact);
    if (std::fabs(double{nearest}) > std::fabs(exact)) nearest = std::nextafter(nearest, 0.0f);
    return bits(nearest);
  });
  expect_all("setp.leu.f32 %p1, %f1, %f2; selp.u32 %r9, 1, 0, %p1;", "%r9", "u32", floats(),
             [](const Inputs& in) { return !(f(in.a) > f(in.b)) ? 1 : 0; });
  expect_all("setp.ne.f32 %p1, %f1, %f2; selp.u32 %r9, 1, 0, %p1;", "%r9", "u32", floats(),
             [](const Inputs& in) { return f(in.a) < f(in.b) || f(in.a) > f(in.b) ? 1 : 0; });
}

TEST(Arithmetic, Doubles) {
  const char* body =
      "cvt.f64.f32 %fd4, %f1; cvt.f64.f32 %fd5, %f2; div.rn.f64 %fd6, %fd4, 0d4008000000000000; fma.rn.f64 %fd9, %fd6, "
      "%fd5, %fd4;";
  expect_all(body, "%fd9", "f64", floats(), [](const Inputs& in) {
    const double a = f(in.a), b = f(in.b);
    return std::bit_cast<uint64_t>(std::fma(a / 3.0, b, a));
  });
}

// Every f16 and bf16 value widens and comes back; sums are rounded once, which float arithmetic alone would not do.
TEST(Arithmetic, Halves) {
  std::vector<Inputs> inputs;
  std::mt19937 random(7);
  for (int i = 0; i < 512; ++i) inputs.push_back({random() & 0xffff, random() & 0xffff, random() & 0xffff});
  const auto half = [](uint64_t b) { return half_to_float(static_cast<uint16_t>(b)); };
  const auto bfloat = [](uint64_t b) { return bfloat_to_float(static_cast<uint16_t>(b)); };
  expect_all("fma.rn.f16 %h9, %h1, %h2, %h3;", "%h9", "b16", inputs, [&](const Inputs& in) {
    const long double exact = static_cast<long double>(half(in.a)) * half(in.b) + half(in.c);  // 64 bits
    return narrow<Half>(static_cast<double>(exact));
  });
  expect_all("fma.rn.bf16 %h9, %h1, %h2, %h3;", "%h9", "b16", inputs, [&](const Inputs& in) {
    return narrow<Bfloat>(odd_sum(double{bfloat(in.a)} * double{bfloat(in.b)}, double{bfloat(in.c)}));
  });
  expect_all("cvt.f32.f16 %f9, %h1;", "%f9", "f32", inputs, [&](const Inputs& in) { return bits(half(in.a)); });
  const char* pair = "mov.b32 %r4, {%rs1, %rs2}; mov.b32 %r5, {%rs3, %rs1}; add.f16x2 %r9, %r4, %r5;";
  expect_all(pair, "%r9", "b32", inputs, [&](const Inputs& in) {
    return narrow<Half>(double{half(in.a)} + double{half(in.c)}) |
           uint64_t{narrow<Half>(double{half(in.b)} + double{half(in.a)})} << 16;
  });
}

TEST(Arithmetic, KnownNarrowings) {
  EXPECT_EQ(narrow<Half>(1.0), 0x3c00);
  EXPECT_EQ(narrow<Half>(65504.0), 0x7bff);
  EXPECT_EQ(narrow<Half>(65519.0), 0x7bff);
  EXPECT_EQ(narrow<Half>(65520.0), 0x7c00);
  EXPECT_EQ(narrow<Half>(65520.0, Rounding::kZero), 0x7bff);
  EXPECT_EQ(narrow<Half>(0x1p-24), 0x0001);
  EXPECT_EQ(narrow<Half>(0x1p-25), 0x0000);
  EXPECT_EQ(narrow<Half>(0x1.8p-25), 0x0001);
  EXPECT_EQ(narrow<Half>(-0x1p-25, Rounding::kDown), 0x8001);
  EXPECT_EQ(narrow<Half>(0x1.ffep-15), 0x0400);  // the largest subnormal and a half: the smallest normal number
  EXPECT_EQ(narrow<Bfloat>(1.0), 0x3f80);
  EXPECT_EQ(narrow<Bfloat>(0x1.01p0), 0x3f80);  // halfway, to even
  EXPECT_EQ(narrow<Bfloat>(0x1.03p0), 0x3f82);
  for (uint32_t b = 0; b < 0x10000; ++b) {
    if ((b & 0x7fff) <= 0x7c00) {
      EXPECT_EQ(narrow<Half>(double{half_to_float(static_cast<uint16_t>(b))}), b);
    }
    if ((b & 0x7fff) <= 0x7f80) {
      EXPECT_EQ(narrow<Bfloat>(double{bfloat_to_float(static_cast<uint16_t>(b))}), b);
    }
  }
}

TEST(Arithmetic, Conversions) {
  expect_all("cvt.rzi.s32.f32 %r9, %f1;", "%r9", "u32", floats(), [](const Inputs& in) -> uint64_t {
    const float x = f(in.a);
    if (std::isnan(x)) return 0;
    return low(static_cast<uint64_t>(x >= 0x1p31f ? INT32_MAX : x <= -0x1p31f ? INT32_MIN : static_cast<int32_t>(x)));
  });
  expect_all("cvt.rni.f32.f32 %f9, %f1;", "%f9", "f32", floats(),
             [](const Inputs& in) { return bits(std::nearbyint(f(in.a))); });
  expect_all("cvt.rn.f32.u64 %f9, %rd1;", "%f9", "f32", integers(),
             [](const Inputs& in) { return bits(static_cast<float>(in.a)); });
  expect_all("cvt.rn.f32.s32 %f9, %r1;", "%f9", "f32", integers(),
             [](const Inputs& in) { return bits(static_cast<float>(sign(in.a))); });
  expect_all("cvt.s64.s32 %rd9, %r1;", "%rd9", "u64", integers(),
             [](const Inputs& in) { return static_cast<uint64_t>(int64_t{sign(in.a)}); });
  expect_all("cvt.u32.s8 %r9, %r1;", "%r9", "u32", integers(),
             [](const Inputs& in) { return low(static_cast<uint64_t>(static_cast<int8_t>(in.a))); });
  expect_all("cvt.sat.u8.s32 %r9, %r1;", "%r9", "u32", integers(),
             [](const Inputs& in) { return static_cast<uint64_t>(std::clamp(sign(in.a), 0, 255)); });
  expect_all("cvt.rn.bf16x2.f32 %r9, %f1, %f2;", "%r9", "b32", floats(), [](const Inputs& in) {
    return uint64_t{narrow<Bfloat>(double{f(in.a)})} << 16 | narrow<Bfloat>(double{f(in.b)});
  });
  expect_all("cvt.rn.f16.f32 %h9, %f1;", "%h9", "b16", floats(),
             [](const Inputs& in) { return narrow<Half>(double{f(in.a)}); });
  expect_all("cvt.rna.tf32.f32 %r9, %f1;", "%r9", "b32", {{0x3f801000, 0, 0}, {0xbf800fff, 0, 0}, {0x7f800000, 0, 0}},
             [](const Inputs& in) -> uint64_t {
               return in.a == 0x3f801000 ? 0x3f802000 : in.a == 0xbf800fff ? 0xbf800000 : 0x7f800000;
             });
}

TEST(Arithmetic, ApproximationsAreClose) {
  const std::vector<Inputs> inputs{{std::bit_cast<uint32_t>(0.7f), 0, 0}};
  const auto value = [&](const char* body) { return f(run_snippet(body, "%f9", "f32", inputs)[0]); };
  EXPECT_NEAR(value("ex2.approx.ftz.f32 %f9, %f1;"), std::exp2(0.7), 1e-6);
  EXPECT_NEAR(value("lg2.approx.f32 %f9, %f1;"), std::log2(0.7), 1e-6);
  EXPECT_NEAR(value("rsqrt.approx.ftz.f32 %f9, %f1;"), 1 / std::sqrt(0.7), 1e-6);
  EXPECT_NEAR(value("rcp.approx.f32 %f9, %f1;"), 1 / 0.7, 1e-6);
  EXPECT_NEAR(value("sin.approx.f32 %f9, %f1;"), std::sin(0.7), 1e-6);
  EXPECT_NEAR(value("tanh.approx.f32 %f9, %f1;"), std::tanh(0.7), 1e-6);
}

TEST(Arithmetic, UnknownInstructionsAreNamed) {
  const auto message = [](const char* body) -> std::string {
    try {
      run_snippet(body, "%r9", "u32", {{}});
    } catch (const PtxError& error) {
      return error.what();
    }
    return "no complaint";
  };
  EXPECT_EQ(message("frobnicate.u32 %r9, %r1;"), "kernel snippet, PTX line 35: frobnicate.u32 is not known");
  EXPECT_EQ(message("add.rp.s32 %r9, %r1, %r2;"),
            "kernel snippet, PTX line 35: add.rp.s32 has the modifier .rp, which is not known");
  EXPECT_EQ(message("add.u32 %r9, %r1, %rd2;"),
            "kernel snippet, PTX line 35: add.u32 has the operand %rd2, whose width does not fit");
  EXPECT_EQ(message("mov.u32 %r9, nowhere;"),
            "kernel snippet, PTX line 35: mov.u32 names 'nowhere', which nothing defines");
}

}  // namespace
}  // namespace annulus::cudasim
