// The product's kernels at the edges of f32, as tests/kernels/adversarial_ops_test.cpp holds the CPU's to them, and at
// sizes of nothing.
#include <cmath>
#include <limits>

#include "tests/cudasim/product/gpu.h"
#include "tests/support/update_cases.h"

namespace annulus::cudasim {
namespace {

using namespace test;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct NormResult {
  std::vector<double> y, dx, dgain;
};

template <class T>
NormResult rms_norm(Gpu& gpu, const NormCase& given, const std::vector<double>& x_values) {
  const int64_t N = given.N, C = given.C;
  T *const y = gpu.room<T>(N * C), *const dx = gpu.room<T>(N * C);
  float *const rstd = gpu.room<float>(N), *const dgain = gpu.up<float>(given.dgain_before);
  float* const scratch = gpu.room<float>(C);
  const T *const x = gpu.up<T>(x_values), *const gain = gpu.up<T>(given.gain), *const dy = gpu.up<T>(given.dy);
  const T* const residual = gpu.up<T>(given.residual);
  gpu.ran(product_ops<T>().rms_norm_forward(y, rstd, x, gain, N, C, 1e-5f, gpu.stream()));
  gpu.ran(product_ops<T>().rms_norm_backward(dx, dgain, dy, x, rstd, gain, residual, N, C, scratch, gpu.stream()));
  return {gpu.down(y, N * C), gpu.down(dx, N * C), gpu.down(dgain, C)};
}

// y of a row does not change when the row is multiplied by a power of two, and dx is divided by it.
template <class T>
void huge_rows_are_as_ordinary_ones(int64_t C, double largest) {
  const NormCase given = NormCase(3, C, dtype_of<T>(), /*eps=*/0.0).alone();
  in_all_schedules([&](Gpu& gpu) {
    for (const double size : kHugeRows) {
      if (size > largest) continue;
      const NormResult got = rms_norm<T>(gpu, given, times(given.x, size));
      const std::string what = " times " + std::to_string(size);
      given.expect_y(got.y, what);
      given.expect_gradients(times(got.dx, size), got.dgain, what);
    }
  });
}

TEST(ProductEdges, RmsNormOfHugeRowsIsThatOfOrdinaryOnes) {
  for (const int64_t C : {1, 40, 129, 1288}) huge_rows_are_as_ordinary_ones<float>(C, 0x1p125);
  huge_rows_are_as_ordinary_ones<Bf16>(40, 0x1p100);  // beyond, gradients are so small that bf16 has few digits
}

TEST(ProductEdges, RmsNormOfTinyRowsIsHeldByEpsilon) {
  const NormCase ordinary = NormCase(3, 129, Dtype::kF32).alone();
  for (const double size : kTinyRows) {
    NormCase given = ordinary;
    given.x = times(ordinary.x, size);
    in_all_schedules([&](Gpu& gpu) {
      const NormResult got = rms_norm<float>(gpu, given, given.x);
      const std::string what = " times " + std::to_string(size);
      given.expect_y(got.y, what);
      given.expect_gradients(got.dx, got.dgain, what);
    });
  }
}

TEST(ProductEdges, RmsNormOfWhatIsNoNumberIsNone) {
  for (const float odd : {kInfinity, -kInfinity, kNan}) {
    NormCase given = NormCase(1, 40, Dtype::kF32).alone();
    given.x[7] = odd;
    in_all_schedules([&](Gpu& gpu) { EXPECT_TRUE(std::isnan(rms_norm<float>(gpu, given, given.x).y[7])) << odd; });
  }
}

TEST(ProductEdges, CrossEntropyOfHugeEqualAndTinyLogits) {
  for (const CrossEntropyCase& given : huge_equal_and_tiny_logits())
    in_all_schedules([&](Gpu& gpu) {
      float *const z = gpu.up<float>(given.logits), *const loss = gpu.room<float>(given.N);
      gpu.ran(product().f32.cross_entropy(loss, z, z, gpu.up<int32_t>(given.labels), given.N, given.V,
                                          static_cast<float>(given.scale), gpu.stream()));
      given.expect_losses(gpu.down(loss, given.N));
      given.expect_dlogits(gpu.down(z, given.N * given.V));
    });
}

TEST(ProductEdges, LogitsThatOverflowNeverPassForNumbers) {
  for (const float logit : {kInfinity, -kInfinity, kNan})
    for (const bool everywhere : {true, false}) {
      std::vector<double> logits(19, everywhere ? logit : 1.0f);
      logits[3] = logit;
      in_all_schedules([&](Gpu& gpu) {
        float* const loss = gpu.room<float>(1);
        const int32_t* const label = gpu.up<int32_t>(std::vector<int64_t>{3});
        gpu.ran(product().f32.cross_entropy(loss, nullptr, gpu.up<float>(logits), label, 1, 19, 0.0f, gpu.stream()));
        EXPECT_FALSE(std::isfinite(gpu.down(loss, 1)[0])) << logit << " everywhere " << everywhere;
      });
    }
}

TEST(ProductEdges, SwigluOfHugeAndTinyGates) {
  for (const SwigluCase& given : huge_and_tiny_gates())
    in_all_schedules([&](Gpu& gpu) {
      const int64_t F = given.F;
      const float *const gate_up = gpu.up<float>(given.gate_up()), *const dy = gpu.up<float>(given.dy);
      float *const y = gpu.room<float>(F), *const dgate_up = gpu.room<float>(2 * F);
      gpu.ran(product().f32.swiglu_forward(y, gate_up, 1, F, gpu.stream()));
      gpu.ran(product().f32.swiglu_backward(dgate_up, dy, gate_up, 1, F, gpu.stream()));
      given.expect_y(gpu.down(y, F));
      given.expect_dgate_up(gpu.down(dgate_up, 2 * F));
    });
  in_all_schedules([](Gpu& gpu) {
    float* const y = gpu.room<float>(1);
    gpu.ran(product().f32.swiglu_forward(y, gpu.up<float>(std::vector<double>{1e30, 1e30}), 1, 1, gpu.stream()));
    EXPECT_EQ(gpu.down(y, 1)[0], kInfinity);
  });
}

TEST(ProductEdges, RopeOfHugeAndTinyNumbers) {
  for (const double size : {1e30, 1e-40}) {
    RopeCase given(1, 4, 2, 40, Dtype::kF32);
    given.x = times(given.x, size);
    in_all_schedules([&](Gpu& gpu) {
      float* const x = gpu.up<float>(given.x);
      gpu.ran(product().f32.rope(x, 80, gpu.up<float>(given.angles(false)), gpu.up<float>(given.angles(true)), 4, 4, 2,
                                 40, 1.0f, gpu.stream()));
      given.expect_turned(gpu.down(x, 4 * 80));
    });
  }
}

TEST(ProductEdges, SumsOfSquaresThatOverflowShow) {
  for (const float odd : {1e20f, kInfinity, kNan}) {
    std::vector<double> x(17001, 0.5);
    x[17000] = odd;
    in_all_schedules([&](Gpu& gpu) {
      double *const sum = gpu.room<double>(1), *const scratch = gpu.room<double>(2);
      gpu.ran(product().sum_of_squares(sum, gpu.up<float>(x), 17001, scratch, gpu.stream()));
      EXPECT_FALSE(std::isfinite(gpu.down(sum, 1)[0])) << odd;
    });
  }
}

// A rank may have no tokens, and a shard no weights: no memory is touched, and nothing is wrong.
template <class T>
void nothing_is_done_for_nothing(Gpu& gpu) {
  const DeviceElementOps<T>& ops = product_ops<T>();
  const DeviceStream stream = gpu.stream();
  gpu.ran(ops.rms_norm_forward(nullptr, nullptr, nullptr, nullptr, 0, 40, 1e-5f, stream));
  gpu.ran(ops.rms_norm_backward(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 40, nullptr, stream));
  gpu.ran(ops.rope(nullptr, 80, nullptr, nullptr, 0, 0, 2, 40, 1.0f, stream));
  gpu.ran(ops.rope(nullptr, 80, nullptr, nullptr, 0, 4, 2, 40, 1.0f, stream));
  gpu.ran(ops.swiglu_forward(nullptr, nullptr, 0, 40, stream));
  gpu.ran(ops.swiglu_backward(nullptr, nullptr, nullptr, 0, 40, stream));
  gpu.ran(ops.embedding_forward(nullptr, nullptr, nullptr, 0, 40, stream));
  gpu.ran(ops.embedding_backward(nullptr, nullptr, nullptr, 0, 11, 40, nullptr, stream));
  gpu.ran(ops.cross_entropy(nullptr, nullptr, nullptr, nullptr, 0, 40, 1.0f, stream));
  gpu.ran(ops.add(nullptr, nullptr, nullptr, 0, stream));
  gpu.ran(ops.from_f32(nullptr, 8, nullptr, 8, 0, 8, stream));
  gpu.ran(ops.from_bf16(nullptr, 0, nullptr, 0, 3, 0, stream));
}

TEST(ProductEdges, NothingIsDoneForNothing) {
  in_all_schedules([](Gpu& gpu) {
    nothing_is_done_for_nothing<float>(gpu);
    nothing_is_done_for_nothing<Bf16>(gpu);
    const AdamwStep step = {};
    gpu.ran(product().adamw(nullptr, nullptr, nullptr, nullptr, nullptr, 0, &step, gpu.stream()));
    double* const sum = gpu.up<double>(std::vector<double>{7.0});
    gpu.ran(product().sum_of_squares(sum, nullptr, 0, nullptr, gpu.stream()));
    EXPECT_EQ(gpu.down(sum, 1)[0], 0.0);
  });
}

}  // namespace
}  // namespace annulus::cudasim
