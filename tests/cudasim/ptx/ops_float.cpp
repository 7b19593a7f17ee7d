// f32 and f64. Add, multiply, fma, divide and square root round as IEEE 754 says. The .approx forms are computed by the
// host's library to within its last digit, which is closer than the device promises: their results differ from a GPU's.

#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "tests/cudasim/ptx/families.h"
#include "tests/cudasim/ptx/lanes.h"
#include "tests/cudasim/ptx/number.h"

namespace annulus::cudasim {
namespace {

bool set(Op& op, Handler run) {
  op.run = run;
  return run != nullptr;
}

template <class T, bool kFlush>
T incoming(T value) {
  if constexpr (kFlush) return flush(value);
  return value;
}
template <class T, bool kFlush>
T outgoing(T value) {
  if constexpr (kFlush) value = flush(value);
  if constexpr (sizeof(T) == 4) value = canonical(value);
  return value;
}

// Rounding to the nearest, without saturation: nearly every instruction.
template <class T, bool kFlush, class F>
Handler fast(F, int operands) {
  if (operands == 1) {
    if constexpr (std::is_invocable_v<F, T>)
      return unary<T>([](T a) { return outgoing<T, kFlush>(F{}(incoming<T, kFlush>(a))); });
  } else if (operands == 2) {
    if constexpr (std::is_invocable_v<F, T, T>)
      return binary<T>(
          [](T a, T b) { return outgoing<T, kFlush>(F{}(incoming<T, kFlush>(a), incoming<T, kFlush>(b))); });
  } else if constexpr (std::is_invocable_v<F, T, T, T>) {
    return ternary<T>([](T a, T b, T c) {
      return outgoing<T, kFlush>(F{}(incoming<T, kFlush>(a), incoming<T, kFlush>(b), incoming<T, kFlush>(c)));
    });
  }
  return nullptr;
}

enum Facts : uint8_t { kFlushes = 1, kSaturates = 2 };

template <class T>
T finish(T value, uint8_t facts) {
  if constexpr (sizeof(T) == 4) {
    if (facts & kFlushes) value = flush(value);
    if (facts & kSaturates) value = value > 0 ? std::fmin(value, 1.0f) : 0.0f;  // NaN becomes 0
    value = canonical(value);
  }
  return value;
}

// Any rounding, saturation: lane by lane.
template <class T, int kOperands, class F>
void slow(Warp& warp, const Op& op, LaneMask lanes) {
  const HostRounding host(static_cast<Rounding>(op.extra));
  write<T>(warp, op, lanes, [&](int lane) {
    volatile T in[3] = {};
    for (int i = 0; i < kOperands; ++i) {
      in[i] = read<T>(warp, op, i + 1)[lane];
      if constexpr (sizeof(T) == 4)
        if (op.extra2 & kFlushes) in[i] = flush(in[i]);
    }
    volatile T out;
    if constexpr (kOperands == 1) out = F{}(in[0]);
    if constexpr (kOperands == 2) out = F{}(in[0], in[1]);
    if constexpr (kOperands == 3) out = F{}(in[0], in[1], in[2]);
    return finish<T>(out, op.extra2);
  });
}

Rounding rounding_of(const Instruction& in) {
  return in.has("rz")   ? Rounding::kZero
         : in.has("rm") ? Rounding::kDown
         : in.has("rp") ? Rounding::kUp
                        : Rounding::kNearest;
}

template <int kOperands, class F>
bool arithmetic(const Instruction& in, Op& op, F) {
  const Rounding rounding = rounding_of(in);
  const bool plain = rounding == Rounding::kNearest && !in.has("sat");
  op.extra = static_cast<uint8_t>(rounding);
  op.extra2 = static_cast<uint8_t>((in.has("ftz") ? kFlushes : 0) | (in.has("sat") ? kSaturates : 0));
  if (in.type() == Type::kF64)
    return set(op, plain ? fast<double, false>(F{}, kOperands) : Handler{slow<double, kOperands, F>});
  if (in.type() != Type::kF32) return false;
  if (!plain) return set(op, slow<float, kOperands, F>);
  return set(op, in.has("ftz") ? fast<float, true>(F{}, kOperands) : fast<float, false>(F{}, kOperands));
}

bool prepare_add(const Instruction& in, Op& op) {
  return arithmetic<2>(in, op, [](auto a, auto b) { return a + b; });
}
bool prepare_sub(const Instruction& in, Op& op) {
  return arithmetic<2>(in, op, [](auto a, auto b) { return a - b; });
}
bool prepare_mul(const Instruction& in, Op& op) {
  return arithmetic<2>(in, op, [](auto a, auto b) { return a * b; });
}
bool prepare_fma(const Instruction& in, Op& op) {
  return arithmetic<3>(in, op, [](auto a, auto b, auto c) { return std::fma(a, b, c); });
}
bool prepare_div(const Instruction& in, Op& op) {
  return arithmetic<2>(in, op, [](auto a, auto b) { return a / b; });
}
bool prepare_rcp(const Instruction& in, Op& op) {
  return arithmetic<1>(in, op, [](auto a) { return decltype(a){1} / a; });
}
bool prepare_sqrt(const Instruction& in, Op& op) {
  return arithmetic<1>(in, op, [](auto a) { return std::sqrt(a); });
}

float rsqrt(float a) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a))); }
double rsqrt(double a) { return 1.0 / std::sqrt(a); }

bool prepare_approximation(const Instruction& in, Op& op) {
  if (in.opcode == "rsqrt") return arithmetic<1>(in, op, [](auto a) { return rsqrt(a); });
  if (in.type() != Type::kF32) return false;
  if (in.opcode == "ex2") return arithmetic<1>(in, op, [](auto a) { return std::exp2(a); });
  if (in.opcode == "lg2") return arithmetic<1>(in, op, [](auto a) { return std::log2(a); });
  if (in.opcode == "sin") return arithmetic<1>(in, op, [](auto a) { return std::sin(a); });
  if (in.opcode == "cos") return arithmetic<1>(in, op, [](auto a) { return std::cos(a); });
  return arithmetic<1>(in, op, [](auto a) { return std::tanh(a); });
}

// Integers in the order of the numbers, -0 before +0: comparing those, unlike floats, needs no branch.
template <class T>
auto rank(T value) {
  using Integer = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  const auto bits = std::bit_cast<Integer>(value);
  return bits ^ (bits >> (8 * sizeof(T) - 1) & std::numeric_limits<Integer>::max());
}
template <class T>
bool is_nan(T value) {
  return (rank(value) > rank(std::numeric_limits<T>::infinity())) |
         (rank(value) < rank(-std::numeric_limits<T>::infinity()));
}

// A NaN gives way to a number.
template <bool kMax>
struct Choose {
  template <class T>
  T operator()(T a, T b) const {
    const bool before = kMax ? rank(a) > rank(b) : rank(a) < rank(b);
    return (!is_nan(a)) & (is_nan(b) | before) ? a : b;
  }
};
template <bool kMax>
struct ChooseNan {
  template <class T>
  T operator()(T a, T b) const {
    const T chosen = Choose<kMax>{}(a, b);
    return is_nan(a) ? a : is_nan(b) ? b : chosen;
  }
};

bool prepare_min_max(const Instruction& in, Op& op) {
  const bool max = in.opcode == "max";
  if (in.has("NaN")) return max ? arithmetic<2>(in, op, ChooseNan<true>{}) : arithmetic<2>(in, op, ChooseNan<false>{});
  return max ? arithmetic<2>(in, op, Choose<true>{}) : arithmetic<2>(in, op, Choose<false>{});
}

bool prepare_sign(const Instruction& in, Op& op) {
  if (in.opcode == "neg") return arithmetic<1>(in, op, [](auto a) { return -a; });
  return arithmetic<1>(in, op, [](auto a) { return std::fabs(a); });
}

// copysign d, a, b: b with the sign of a
bool prepare_copysign(const Instruction& in, Op& op) {
  if (in.type() == Type::kF64) return set(op, binary<double>([](double a, double b) { return std::copysign(b, a); }));
  return set(op, binary<float>([](float a, float b) { return std::copysign(b, a); }));
}

template <class T, class F>
Handler tester(F) {
  return [](Warp& warp, const Op& op, LaneMask lanes) {
    const Lanes<T> a = read<T>(warp, op, 1);
    write_predicate(warp, op.slots[0], lanes, lanes_where([&](int lane) { return F{}(a[lane]); }));
  };
}

template <class T>
Handler test_handler(const Instruction& in) {
  if (in.has("finite")) return tester<T>([](T a) { return std::isfinite(a); });
  if (in.has("infinite")) return tester<T>([](T a) { return std::isinf(a); });
  if (in.has("number")) return tester<T>([](T a) { return !std::isnan(a); });
  if (in.has("notanumber")) return tester<T>([](T a) { return std::isnan(a); });
  if (in.has("normal")) return tester<T>([](T a) { return std::isnormal(a); });
  return tester<T>([](T a) { return std::fpclassify(a) == FP_SUBNORMAL; });
}

bool prepare_testp(const Instruction& in, Op& op) {
  return set(op, in.type() == Type::kF64 ? test_handler<double>(in) : test_handler<float>(in));
}

constexpr std::array<Family, 20> kFamilies{
    {{"add", prepare_add, " rn rz rm rp ftz sat "},
     {"sub", prepare_sub, " rn rz rm rp ftz sat "},
     {"mul", prepare_mul, " rn rz rm rp ftz sat "},
     {"fma", prepare_fma, " rn rz rm rp ftz sat "},
     {"mad", prepare_fma, " rn rz rm rp ftz sat "},
     {"div", prepare_div, " rn rz rm rp ftz full approx "},
     {"rcp", prepare_rcp, " rn rz rm rp ftz approx "},
     {"sqrt", prepare_sqrt, " rn rz rm rp ftz approx "},
     {"rsqrt", prepare_approximation, " ftz approx "},
     {"ex2", prepare_approximation, " ftz approx "},
     {"lg2", prepare_approximation, " ftz approx "},
     {"sin", prepare_approximation, " ftz approx "},
     {"cos", prepare_approximation, " ftz approx "},
     {"tanh", prepare_approximation, " approx "},
     {"min", prepare_min_max, " ftz NaN "},
     {"max", prepare_min_max, " ftz NaN "},
     {"neg", prepare_sign, " ftz "},
     {"abs", prepare_sign, " ftz "},
     {"copysign", prepare_copysign, " "},
     {"testp", prepare_testp, " finite infinite number notanumber normal subnormal "}}};

}  // namespace

std::span<const Family> float_families() { return kFamilies; }

}  // namespace annulus::cudasim
