// The product's kernels of the loss, the update and whole buffers beside the fp64 oracle, with the limits of the CPU's,
// in every schedule.
#include <bit>
#include <cmath>
#include <utility>

#include "tests/cudasim/product/gpu.h"
#include "tests/support/update_cases.h"

namespace annulus::cudasim {
namespace {

using namespace test;

constexpr int64_t kBegins[] = {0, 1};  // elements behind a word

// A block to a token, which takes 1024 logits at a time.
const struct {
  int64_t N, V, begin;
  double spread;
} kLossShapes[] = {{9, 1, 0, 1},   {9, 2, 0, 50},    {9, 17, 1, 1},   {9, 256, 0, 50},
                   {9, 256, 1, 1}, {3, 1001, 0, 50}, {3, 2064, 0, 1}, {1, 4100, 0, 50}};

template <class T>
void cross_entropy_equals_oracle() {
  for (const auto& [N, V, begin, spread] : kLossShapes) {
    const CrossEntropyCase given(N, V, spread, dtype_of<T>());
    in_all_schedules([&, N = N, V = V, begin = begin](Gpu& gpu) {
      const int32_t* const labels = gpu.up<int32_t>(given.labels);
      gpu.begin_at(begin);
      float *const z = gpu.up<float>(given.logits), *const loss = gpu.room<float>(N);
      const auto run = [&](T* dlogits) {
        const auto scale = static_cast<float>(given.scale);
        gpu.ran(product_ops<T>().cross_entropy(loss, dlogits, z, labels, N, V, scale, gpu.stream()));
        given.expect_losses(gpu.down(loss, N));
      };
      run(nullptr);
      T* const apart = gpu.room<T>(N * V);
      run(apart);
      given.expect_dlogits(gpu.down(apart, N * V));
      EXPECT_EQ(gpu.down(z, N * V), given.logits) << "cross entropy must not touch the logits";
      if constexpr (sizeof(T) == sizeof(float)) {
        const auto expected = gpu.down(apart, N * V);
        run(z);
        EXPECT_EQ(gpu.down(z, N * V), expected) << "the gradient over the logits";
      }
    });
  }
}

TEST(ProductUpdate, CrossEntropyEqualsOracleWithGradientsOfF32) { cross_entropy_equals_oracle<float>(); }
TEST(ProductUpdate, CrossEntropyEqualsOracleWithGradientsOfBf16) { cross_entropy_equals_oracle<Bf16>(); }

AdamwStep step_of(const AdamwCase& given) {
  const auto t = static_cast<double>(given.step);
  return {.learning_rate = AdamwCase::kLearningRate,
          .beta1 = AdamwCase::kBeta1,
          .beta2 = AdamwCase::kBeta2,
          .epsilon = AdamwCase::kEpsilon,
          .weight_decay = AdamwCase::kDecay,
          .gradient_scale = static_cast<float>(given.clip),
          .correction1 = static_cast<float>(1.0 / (1.0 - std::pow(double{AdamwCase::kBeta1}, t))),
          .correction2 = static_cast<float>(1.0 / (1.0 - std::pow(double{AdamwCase::kBeta2}, t)))};
}

// As the optimizer does it: the norm of all gradients, and then each update with the factor that brings it to 1.
TEST(ProductUpdate, AdamwEqualsOracleWithGradientsThatAreClipped) {
  for (const int64_t n : {1, 3, 8, 40, 1029, 16400})
    for (const int64_t step : {1, 1000})
      for (const int64_t begin : kBegins) {
        if (n > 10000 && step + begin > 1) continue;
        AdamwCase given(n, step);
        double squares = 0.0;
        for (const double g : given.gradient) squares += g * g;
        given.clip = std::min(1.0, 1.0 / std::sqrt(squares));
        in_all_schedules([&](Gpu& gpu) {
          double *const sum = gpu.room<double>(1), *const scratch = gpu.room<double>(2);
          gpu.begin_at(begin);
          float *const w = gpu.up<float>(given.w), *const m = gpu.up<float>(given.m), *const v = gpu.up<float>(given.v);
          const float* const gradient = gpu.up<float>(given.gradient);
          Bf16* const rounded = gpu.room<Bf16>(n);
          gpu.ran(product().sum_of_squares(sum, gradient, n, scratch, gpu.stream()));
          const double got = gpu.down(sum, 1)[0];
          AdamwStep update = step_of(given);
          update.gradient_scale = static_cast<float>(got > 1.0 ? 1.0 / std::sqrt(got) : 1.0);
          gpu.ran(product().adamw(w, rounded, m, v, gradient, n, &update, gpu.stream()));
          const auto master = gpu.down(w, n);
          given.expect_updated(master, gpu.down(m, n), gpu.down(v, n));
          EXPECT_EQ(gpu.down(rounded, n), rounded_to(Dtype::kBf16, master)) << "the master, rounded once";
        });
      }
}

TEST(ProductUpdate, AdamwOfWeightsThatAreTheirOwnMasters) {
  const AdamwCase given(133, 2);
  in_all_schedules([&](Gpu& gpu) {
    float *const w = gpu.up<float>(given.w), *const m = gpu.up<float>(given.m), *const v = gpu.up<float>(given.v);
    const AdamwStep update = step_of(given);
    gpu.ran(product().adamw(w, nullptr, m, v, gpu.up<float>(given.gradient), given.n, &update, gpu.stream()));
    given.expect_updated(gpu.down(w, given.n), gpu.down(m, given.n), gpu.down(v, given.n));
  });
}

// A thread's sum has 64 squares at most, each with its own rounding and that of the sum; those of 256 threads are added
// in 5 + 7 steps, the rest in double.
TEST(ProductUpdate, SumOfSquaresIsExactToItsRounding) {
  for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{1023}, 5 * kDeviceFloatsPerSum + 7})
    for (const int64_t begin : kBegins) {
      const auto x = random_normal(n, 20);
      double exact = 0.0;
      for (const double value : x) exact += value * value;
      in_all_schedules([&](Gpu& gpu) {
        double *const sum = gpu.room<double>(1), *const scratch = gpu.room<double>(n / kDeviceFloatsPerSum + 1);
        gpu.begin_at(begin);
        gpu.ran(product().sum_of_squares(sum, gpu.up<float>(x), n, scratch, gpu.stream()));
        EXPECT_NEAR(gpu.down(sum, 1)[0], exact, (64 + 1 + 5 + 7) * kUnitRoundoff * exact) << n;
      });
    }
}

template <class T>
void sums_are_rounded_once() {
  for (const int64_t n : {1, 7, 1032, 5003})
    for (const int64_t begin : kBegins) {
      const auto a = rounded_to(dtype_of<T>(), random_normal(n, 20)),
                 b = rounded_to(dtype_of<T>(), random_normal(n, 21));
      std::vector<double> once;
      for (size_t i = 0; i < a.size(); ++i) once.push_back(static_cast<float>(a[i] + b[i]));
      once = rounded_to(dtype_of<T>(), once);
      in_all_schedules([&](Gpu& gpu) {
        gpu.begin_at(begin);
        T *const x = gpu.up<T>(a), *const y = gpu.up<T>(b), *const z = gpu.room<T>(n);
        for (T* const sum : {z, x}) {  // the second time over one of the terms
          gpu.ran(product_ops<T>().add(sum, x, y, n, gpu.stream()));
          EXPECT_EQ(gpu.down(sum, n), once);
        }
      });
    }
}

TEST(ProductUpdate, SumsOfF32AreRoundedOnce) { sums_are_rounded_once<float>(); }
TEST(ProductUpdate, SumsOfBf16AreRoundedOnce) { sums_are_rounded_once<Bf16>(); }

template <class To, class From>
DeviceError convert(To* y, int64_t y_row, const From* x, int64_t x_row, int64_t rows, int64_t columns,
                    DeviceStream stream) {
  if constexpr (sizeof(From) == sizeof(float))
    return product_ops<To>().from_f32(y, y_row, x, x_row, rows, columns, stream);
  else
    return product_ops<To>().from_bf16(y, y_row, x, x_row, rows, columns, stream);
}

// Rows lie apart; what lies between those that are written stays as it is.
template <class To, class From>
void converts_rows_that_lie_apart() {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {5, 16}, {2, 1029}, {40, 3}})
    for (const int64_t gap : {0, 3, 8})
      for (const int64_t begin : kBegins) {
        if (begin != 0 && gap == 3) continue;
        const int64_t x_row = columns + gap, y_row = columns + 2 * gap;
        const auto x = rounded_to(dtype_of<From>(), random_normal(rows * x_row, 25));
        const auto rounded = rounded_to(dtype_of<To>(), x);
        std::vector<double> expected(static_cast<size_t>(rows * y_row), 7.0);
        for (int64_t row = 0; row < rows; ++row)
          std::copy_n(rounded.begin() + row * x_row, columns, expected.begin() + row * y_row);
        in_all_schedules([&, rows = rows, columns = columns](Gpu& gpu) {
          gpu.begin_at(begin);
          To* const y = gpu.up<To>(std::vector<double>(expected.size(), 7.0));
          gpu.ran(convert(y, y_row, gpu.up<From>(x), x_row, rows, columns, gpu.stream()));
          EXPECT_EQ(gpu.down(y, rows * y_row), expected) << rows << " x " << columns << " gap " << gap;
        });
      }
}

TEST(ProductUpdate, ConversionsTakeRowsThatLieApart) {
  converts_rows_that_lie_apart<float, float>();
  converts_rows_that_lie_apart<float, Bf16>();
  converts_rows_that_lie_apart<Bf16, float>();
  converts_rows_that_lie_apart<Bf16, Bf16>();
}

// Of every 5th bf16 number and the floats between it and the next, those where rounding turns.
TEST(ProductUpdate, ConversionsRoundToNearestEvenAndKeepNan) {
  std::vector<double> floats, expected;
  for (uint32_t upper = 0; upper < 0x10000u; upper += 5)
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      const auto x = std::bit_cast<float>(upper << 16 | lower);
      floats.push_back(x);
      expected.push_back(Bf16::from(x).to_float());
    }
  const auto n = static_cast<int64_t>(floats.size());
  for (const int64_t begin : kBegins) {
    Simulation simulation({});
    simulation.run(1, [&](int) {
      Gpu gpu;
      gpu.begin_at(begin);
      Bf16* const narrow = gpu.room<Bf16>(n);
      float* const wide = gpu.room<float>(n);
      gpu.ran(product().bf16.from_f32(narrow, n, gpu.up<float>(floats), n, 1, n, gpu.stream()));
      gpu.ran(product().f32.from_bf16(wide, n, narrow, n, 1, n, gpu.stream()));
      const auto got = gpu.down(narrow, n), back = gpu.down(wide, n);
      int64_t wrong = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        const bool nan = std::isnan(expected[i]);
        wrong += nan ? !std::isnan(got[i]) || !std::isnan(back[i]) : got[i] != expected[i] || back[i] != expected[i];
      }
      EXPECT_EQ(wrong, 0);
    });
  }
}

}  // namespace
}  // namespace annulus::cudasim
