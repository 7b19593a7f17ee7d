// f16 and bf16, alone and in pairs: computed exactly in double, then rounded once.

#include <array>
#include <cmath>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"
#include "tests/cudasim/ptx/number.h"

namespace annulus::cudasim {
namespace {

enum Facts : uint8_t { kFlushes = 1, kSaturates = 2, kRelu = 4 };

template <class Format>
uint16_t flush_bits(uint16_t bits) {
  constexpr uint32_t kExponent = 0x7fff >> Format::kMantissaBits << Format::kMantissaBits;
  return (bits & kExponent) == 0 ? bits & 0x8000 : bits;
}

template <class Format, int kOperands, class F>
uint16_t compute(const uint16_t (&in)[3], uint8_t facts) {
  double x[3];
  for (int i = 0; i < kOperands; ++i) {
    const uint16_t bits = (facts & kFlushes) != 0 ? flush_bits<Format>(in[i]) : in[i];
    x[i] = static_cast<double>(widen<Format>(bits));
  }
  double exact;
  if constexpr (kOperands == 1) exact = F{}(x[0]);
  if constexpr (kOperands == 2) exact = F{}(x[0], x[1]);
  if constexpr (kOperands == 3) exact = F{}(x[0], x[1], x[2]);
  if ((facts & kSaturates) != 0) exact = exact > 0 ? std::fmin(exact, 1.0) : 0.0;
  if ((facts & kRelu) != 0 && exact <= 0) exact = 0.0;  // NaN stays
  const uint16_t bits = narrow<Format>(exact);
  return (facts & kFlushes) != 0 ? flush_bits<Format>(bits) : bits;
}

template <class Format, int kOperands, int kParts, class F>
void run(Warp& warp, const Op& op, LaneMask lanes) {
  write<uint32_t>(warp, op, lanes, [&](int lane) {
    uint32_t result = 0;
    for (int part = 0; part < kParts; ++part) {
      uint16_t in[3] = {};
      for (int i = 0; i < kOperands; ++i)
        in[i] = static_cast<uint16_t>(read<uint32_t>(warp, op, i + 1)[lane] >> (16 * part));
      result |= static_cast<uint32_t>(compute<Format, kOperands, F>(in, op.extra)) << (16 * part);
    }
    return result;
  });
}

template <int kOperands, class F>
bool arithmetic(const Instruction& in, Op& op, F) {
  op.extra = static_cast<uint8_t>((in.has("ftz") ? kFlushes : 0) | (in.has("sat") ? kSaturates : 0) |
                                  (in.has("relu") ? kRelu : 0));
  switch (in.type()) {
    case Type::kF16:
      op.run = run<Half, kOperands, 1, F>;
      return true;
    case Type::kF16x2:
      op.run = run<Half, kOperands, 2, F>;
      return true;
    case Type::kBf16:
      op.run = run<Bfloat, kOperands, 1, F>;
      return true;
    case Type::kBf16x2:
      op.run = run<Bfloat, kOperands, 2, F>;
      return true;
    default:
      return false;
  }
}

bool prepare_add(const Instruction& in, Op& op) {
  return arithmetic<2>(in, op, [](double a, double b) { return odd_sum(a, b); });
}
bool prepare_sub(const Instruction& in, Op& op) {
  return arithmetic<2>(in, op, [](double a, double b) { return odd_sum(a, -b); });
}
bool prepare_mul(const Instruction& in, Op& op) {
  return arithmetic<2>(in, op, [](double a, double b) { return a * b; });  // exact: at most 22 bits
}
bool prepare_fma(const Instruction& in, Op& op) {
  return arithmetic<3>(in, op, [](double a, double b, double c) { return odd_sum(a * b, c); });
}

template <bool kMax>
double choose(double a, double b) {
  if (a != a || b != b) return a != a ? b : a;
  const bool first = a == b ? std::signbit(a) != kMax : (kMax ? a > b : a < b);
  return first ? a : b;
}
template <bool kMax>
double choose_nan(double a, double b) {
  return a != a || b != b ? std::nan("") : choose<kMax>(a, b);
}

bool prepare_min_max(const Instruction& in, Op& op) {
  const bool max = in.opcode == "max";
  if (in.has("NaN"))
    return max ? arithmetic<2>(in, op, [](double a, double b) { return choose_nan<true>(a, b); })
               : arithmetic<2>(in, op, [](double a, double b) { return choose_nan<false>(a, b); });
  return max ? arithmetic<2>(in, op, [](double a, double b) { return choose<true>(a, b); })
             : arithmetic<2>(in, op, [](double a, double b) { return choose<false>(a, b); });
}

bool prepare_one(const Instruction& in, Op& op) {
  if (in.opcode == "neg") return arithmetic<1>(in, op, [](double a) { return -a; });
  if (in.opcode == "abs") return arithmetic<1>(in, op, [](double a) { return std::fabs(a); });
  if (in.opcode == "ex2") return arithmetic<1>(in, op, [](double a) { return std::exp2(a); });
  return arithmetic<1>(in, op, [](double a) { return std::tanh(a); });
}

constexpr std::array<Family, 10> kFamilies{{{"add", prepare_add, " rn ftz sat "},
                                            {"sub", prepare_sub, " rn ftz sat "},
                                            {"mul", prepare_mul, " rn ftz sat "},
                                            {"fma", prepare_fma, " rn ftz sat relu "},
                                            {"min", prepare_min_max, " ftz NaN "},
                                            {"max", prepare_min_max, " ftz NaN "},
                                            {"neg", prepare_one, " ftz "},
                                            {"abs", prepare_one, " ftz "},
                                            {"ex2", prepare_one, " ftz approx "},
                                            {"tanh", prepare_one, " approx "}}};

}  // namespace

std::span<const Family> half_families() { return kFamilies; }

}  // namespace annulus::cudasim
