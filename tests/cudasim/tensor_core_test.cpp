// mma.sync in every shape and type, to the bit: products are exact, sums are rounded one after the other in order of k.

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/cudasim/machine.h"
#include "tests/cudasim/ptx/number.h"

namespace annulus::cudasim {
namespace {

enum class Kind { kBfloat, kHalf, kTf32 };
struct Shape {
  Kind kind;
  int k;
  bool half_sum;
};

float value_of(Kind kind, uint32_t bits) {
  if (kind == Kind::kBfloat) return bfloat_to_float(static_cast<uint16_t>(bits));
  if (kind == Kind::kHalf) return half_to_float(static_cast<uint16_t>(bits));
  return std::bit_cast<float>(bits & ~uint32_t{0x1fff});
}

class TensorCore {
 public:
  explicit TensorCore(Shape shape) : shape_(shape) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    const auto number = [&]() -> uint32_t {
      const float x = random() % 9 == 0 ? (random() % 2 == 0 ? -0.0f : 0.0f) : normal(random);
      if (shape.kind == Kind::kBfloat) return narrow<Bfloat>(double{x});
      if (shape.kind == Kind::kHalf) return narrow<Half>(double{x});
      return std::bit_cast<uint32_t>(x);  // the low bits of a tf32 operand count for nothing
    };
    for (auto& row : a_)
      for (uint32_t& x : row) x = number();
    for (auto& row : b_)
      for (uint32_t& x : row) x = number();
    for (auto& row : c_)
      for (float& x : row) x = random() % 9 == 0 ? -0.0f : normal(random);
    for (int k = 0; k < 16; ++k) a_[5][k] = 0x80008000 & (shape.kind == Kind::kTf32 ? 0x80000000 : 0x8000);  // all -0
    for (auto& row : b_) row[6] = shape.kind == Kind::kTf32 ? 0x3f800000 : shape.kind == Kind::kHalf ? 0x3c00 : 0x3f80;
    c_[5][6] = -0.0f;  // stays -0, for every product there is one
    c_[2][3] = NAN;
    if (shape.half_sum)
      for (auto& row : c_)
        for (float& x : row) x = half_to_float(narrow<Half>(double{x}));
  }

  void check() const {
    const int a = words_of_a(), b = a / 2, c = shape_.half_sum ? 2 : 4;
    std::vector<uint32_t> in;
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < a; ++i) in.push_back(word_a(lane, i));
      for (int i = 0; i < b; ++i) in.push_back(word_b(lane, i));
      for (int i = 0; i < c; ++i) in.push_back(word_c(c_, lane, i));
    }
    Machine machine(text(a, b, c));
    const uint64_t from = machine.memory.upload(in, "in"), to = machine.memory.allocate(32 * 4 * 4, "out");
    machine.run(arguments(to, from));
    float d[16][8];
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column) d[row][column] = exact(row, column);
    for (int lane = 0; lane < 32; ++lane) {
      const auto got =
          machine.memory.download<uint32_t>(to + static_cast<uint64_t>(lane) * 16, static_cast<uint64_t>(c));
      for (int i = 0; i < c; ++i)
        ASSERT_EQ(got[static_cast<size_t>(i)], word_c(d, lane, i)) << shape_.k << " lane " << lane << " register " << i;
    }
  }

 private:
  int words_of_a() const { return shape_.kind == Kind::kTf32 ? shape_.k / 2 : shape_.k / 4; }

  float exact(int row, int column) const {
    float sum = c_[row][column];
    for (int k = 0; k < shape_.k; ++k)
      sum = std::fma(value_of(shape_.kind, a_[row][k]), value_of(shape_.kind, b_[k][column]), sum);
    return canonical(sum);
  }

  // The manual's tables: lane = 4 group + member.
  uint32_t word_a(int lane, int i) const {
    const int group = lane / 4, member = lane % 4, row = group + 8 * (i % 2);
    if (shape_.kind == Kind::kTf32) return a_[row][member + 4 * (i / 2)];
    const int k = 2 * member + 8 * (i / 2);
    return a_[row][k] | a_[row][k + 1] << 16;
  }
  uint32_t word_b(int lane, int i) const {
    const int group = lane / 4, member = lane % 4;
    if (shape_.kind == Kind::kTf32) return b_[member + 4 * i][group];
    const int k = 2 * member + 8 * i;
    return b_[k][group] | b_[k + 1][group] << 16;
  }
  uint32_t word_c(const float (&c)[16][8], int lane, int i) const {
    const int group = lane / 4, column = 2 * (lane % 4);
    if (!shape_.half_sum) return std::bit_cast<uint32_t>(c[group + 8 * (i / 2)][column + i % 2]);
    const float* row = c[group + 8 * i];
    return narrow<Half>(double{row[column]}) | uint32_t{narrow<Half>(double{row[column + 1]})} << 16;
  }

  std::string text(int a, int b, int c) const {
    const char* type = shape_.kind == Kind::kBfloat ? "bf16" : shape_.kind == Kind::kHalf ? "f16" : "tf32";
    const std::string sum = shape_.half_sum ? "f16" : "f32";
    int next = 10;
    std::string loads;
    const auto registers = [&](int count, bool load) {
      std::string list = "{";
      for (int i = 0; i < count; ++i, ++next) {
        if (load)
          loads += "ld.global.u32 %r" + std::to_string(next) + ", [%rd4+" + std::to_string(4 * (next - 10)) + "];\n";
        list += (i > 0 ? ", %r" : "%r") + std::to_string(next);
      }
      return list + "}";
    };
    const std::string fa = registers(a, true), fb = registers(b, true), fc = registers(c, true);
    const int first = next;
    const std::string fd = registers(c, false);
    std::string stores;
    for (int i = 0; i < c; ++i)
      stores += "st.global.u32 [%rd5+" + std::to_string(4 * i) + "], %r" + std::to_string(first + i) + ";\n";
    return ".entry k(.param .u64 out, .param .u64 in) {.reg .b32 %r<60>; .reg .b64 %rd<9>; mov.u32 %r0, %tid.x;\n"
           "ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [in]; mad.wide.u32 %rd4, %r0, " +
           std::to_string(4 * (a + b + c)) + ", %rd2; mad.wide.u32 %rd5, %r0, 16, %rd1;\n" + loads +
           "mma.sync.aligned.m16n8k" + std::to_string(shape_.k) + ".row.col." + sum + "." + type + "." + type + "." +
           sum + " " + fd + ", " + fa + ", " + fb + ", " + fc + ";\n" + stores + "ret; }";
  }

  Shape shape_;
  uint32_t a_[16][16], b_[16][8];
  float c_[16][8];
};

TEST(TensorCore, EveryShape) {
  TensorCore({Kind::kBfloat, 16, false}).check();
  TensorCore({Kind::kBfloat, 8, false}).check();
  TensorCore({Kind::kHalf, 16, false}).check();
  TensorCore({Kind::kHalf, 8, false}).check();
  TensorCore({Kind::kHalf, 16, true}).check();
  TensorCore({Kind::kHalf, 8, true}).check();
  TensorCore({Kind::kTf32, 8, false}).check();
  TensorCore({Kind::kTf32, 4, false}).check();
}

}  // namespace
}  // namespace annulus::cudasim
