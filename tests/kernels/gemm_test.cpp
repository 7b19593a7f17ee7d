// Matrix products beside the fp64 oracle, on every instruction set, at odd sizes.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <ostream>

#include "kernels/cpu/isa.h"
#include "kernels/gemm.h"
#include "tests/support/buffer.h"
#include "tests/support/close.h"
#include "tests/support/random.h"

namespace annulus::test {
namespace {

// Rows of a matrix that lie further apart than they are long; NaN between them.
struct Matrix {
  Matrix(int64_t rows, int64_t width, const std::vector<double>& values, Dtype dtype, int64_t gap)
      : columns(width), row(width + gap), all({rows, width + gap}, __builtin_nanf(""), dtype) {
    const Buffer dense({rows, width}, values, dtype);
    for (int64_t i = 0; i < rows; ++i)
      std::memcpy(view().at(i).raw(), dense.view().at(i).raw(), static_cast<size_t>(width * size_of(dtype)));
  }
  TensorView view() const { return all.view().narrow(1, 0, columns); }
  std::vector<double> doubles() const {
    std::vector<double> values;
    const auto every = all.doubles();
    for (size_t i = 0; i < every.size(); ++i) {
      const bool in_gap = static_cast<int64_t>(i) % row >= columns;
      if (in_gap && !std::isnan(every[i])) ADD_FAILURE() << "written behind row " << static_cast<int64_t>(i) / row;
      if (!in_gap) values.push_back(every[i]);
    }
    return values;
  }
  int64_t columns, row;
  Buffer all;
};

struct Product {
  int64_t M, N, K;
  bool ta = false, tb = false;
  Dtype operands = Dtype::kF32, result = Dtype::kF32;
  bool accumulate = false;
  int64_t gap = 0;
};

std::ostream& operator<<(std::ostream& out, const Product& p) {
  return out << p.M << " x " << p.N << " x " << p.K << " transpose " << p.ta << p.tb << " add " << p.accumulate << " "
             << name_of(p.operands) << " to " << name_of(p.result) << " gap " << p.gap;
}

// With op(a) as the first `rows` rows of the product's.
std::vector<double> multiply(const Product& p, const std::vector<double>& a, const std::vector<double>& b,
                             const std::vector<double>& c, int64_t rows) {
  const Matrix am(p.ta ? p.K : p.M, p.ta ? p.M : p.K, a, p.operands, p.gap);
  const Matrix bm(p.tb ? p.N : p.K, p.tb ? p.K : p.N, b, p.operands, p.gap);
  const Matrix cm(p.M, p.N, c, p.result, p.gap);
  const TensorView some_of_c = cm.view().narrow(0, 0, rows), some_of_a = am.view().narrow(p.ta ? 1 : 0, 0, rows);
  const auto tra = p.ta ? Transpose::kYes : Transpose::kNo, trb = p.tb ? Transpose::kYes : Transpose::kNo;
  const Write write = p.accumulate ? Write::kAdd : Write::kReplace;
  Arena scratch("scratch");
  gemm(TensorView(nullptr, p.result, {rows, p.N}, Device::kShape), some_of_a, tra, bm.view(), trb, write, scratch);
  scratch.commit();
  gemm(some_of_c, some_of_a, tra, bm.view(), trb, write, scratch);
  return cm.doubles();
}

// c (+)= op(a) op(b): a dot product of length K may err by K u sum |a b|, also of bf16, whose products f32 holds
// exactly. No bit depends on the threads, or on the other rows of c.
void expect_product(const Product& p) {
  const auto a = rounded_to(p.operands, random_normal(p.M * p.K, 22));
  const auto b = rounded_to(p.operands, random_normal(p.K * p.N, 23)), c = random_normal(p.M * p.N, 24);
  const auto got = multiply(p, a, b, c, p.M);
  double worst = 0.0;  // error over its limit
  for (int64_t i = 0; i < p.M; ++i)
    for (int64_t j = 0; j < p.N; ++j) {
      double exact = p.accumulate ? c[static_cast<size_t>(i * p.N + j)] : 0.0, terms = std::abs(exact);
      for (int64_t k = 0; k < p.K; ++k) {
        const double product = a[static_cast<size_t>(p.ta ? k * p.M + i : i * p.K + k)] *
                               b[static_cast<size_t>(p.tb ? j * p.K + k : k * p.N + j)];
        exact += product;
        terms += std::abs(product);
      }
      Tolerance limit = {static_cast<double>(p.K + 1) * kUnitRoundoff * terms};
      if (p.result == Dtype::kBf16) limit = rounded_to_bf16(limit);
      const double error = std::abs(got[static_cast<size_t>(i * p.N + j)] - exact);
      const double share = error / (limit.absolute + limit.relative * std::abs(exact));
      worst = share <= worst ? worst : share;  // keeps NaN
    }
  EXPECT_LE(worst, 1.0) << p;

  cpu::set_num_threads(3);
  EXPECT_EQ(multiply(p, a, b, c, p.M), got) << p << ", three threads";
  cpu::set_num_threads(1);
  const int64_t rows = (p.M + 1) / 2;
  auto some = multiply(p, a, b, c, rows), expected = got;
  some.resize(static_cast<size_t>(rows * p.N));
  expected.resize(some.size());
  EXPECT_EQ(some, expected) << p << ", half of the rows";
}

class Products : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    cpu::choose_isa(GetParam());
    cpu::set_num_threads(1);
  }
};

constexpr Dtype kF32 = Dtype::kF32, kBf16 = Dtype::kBf16;

TEST_P(Products, EqualOracleForEveryTranspositionAndDtype) {
  for (const auto& [M, N, K] : {std::array<int64_t, 3>{1, 1, 1}, {5, 7, 3}, {33, 40, 65}, {64, 17, 128}, {200, 90, 34}})
    for (const bool ta : {false, true})
      for (const bool tb : {false, true})
        for (const int64_t gap : {0, 3}) {
          for (const Dtype operands : {kF32, kBf16})
            for (const bool accumulate : {false, true})
              expect_product({M, N, K, ta, tb, operands, kF32, accumulate, gap});
          expect_product({M, N, K, ta, tb, kBf16, kBf16, false, gap});
        }
}

// More than what is summed, packed or grouped at a time, in every direction.
TEST_P(Products, OfSeveralBlocksEqualOracle) {
  expect_product({.M = 203, .N = 5, .K = 1027});  // of k, rows packed by nobody else
  expect_product({.M = 5, .N = 530, .K = 1027, .tb = true, .accumulate = true, .gap = 1});
  expect_product({.M = 203, .N = 5, .K = 2051, .operands = kBf16, .result = kBf16});
  expect_product({.M = 3, .N = 530, .K = 2051, .ta = true, .tb = true, .operands = kBf16, .result = kBf16, .gap = 1});
  expect_product({.M = 203, .N = 5, .K = 2050, .ta = true, .operands = kBf16, .accumulate = true});
  expect_product({.M = 100, .N = 530, .K = 1025, .ta = true});  // of columns that share panels
  expect_product({.M = 100, .N = 530, .K = 2051, .operands = kBf16, .result = kBf16});
  expect_product({.M = 60, .N = 5, .K = 512});  // rows 2 KiB apart are packed
  expect_product({.M = 60, .N = 5, .K = 1024, .operands = kBf16});
}

INSTANTIATE_TEST_SUITE_P(Isa, Products, testing::ValuesIn(cpu::supported_isas()),
                         [](const auto& isa) { return isa.param; });

TEST(Gemm, NothingTimesNothingIsZero) {
  for (const Dtype dtype : {Dtype::kF32, Dtype::kBf16}) {
    const Buffer c({2, 3}, 7.0f, dtype), sum({2, 3}, 7.0f), a({2, 0}, 0.0f, dtype), b({0, 3}, 0.0f, dtype);
    Arena scratch("scratch");
    gemm(sum.view(), a.view(), Transpose::kNo, b.view(), Transpose::kNo, Write::kAdd, scratch);
    EXPECT_EQ(sum.doubles()[5], 7.0);
    gemm(c.view(), a.view(), Transpose::kNo, b.view(), Transpose::kNo, Write::kReplace, scratch);
    EXPECT_EQ(c.doubles()[5], 0.0);
  }
}

}  // namespace
}  // namespace annulus::test
