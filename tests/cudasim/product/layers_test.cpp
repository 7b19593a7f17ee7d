// The product's kernels of the layers around attention beside the fp64 oracle, with the limits of the CPU's: in every
// schedule, with words of 16 bytes, with rows that do not divide into such, and with tensors that begin elsewhere.
#include <utility>

#include "tests/cudasim/product/gpu.h"
#include "tests/support/layer_cases.h"

namespace annulus::cudasim {
namespace {

using namespace test;

constexpr int64_t kBegins[] = {0, 1};  // elements behind a word

template <class T>
class ProductLayers : public testing::Test {
 protected:
  static constexpr Dtype kDtype = dtype_of<T>();
};
struct DtypeNames {
  template <class T>
  static std::string GetName(int) {
    return name_of(dtype_of<T>());
  }
};
using Dtypes = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(ProductLayers, Dtypes, DtypeNames);

// Rows of up to 1024 elements are a warp's, longer ones a block's; 64 tokens make a partial sum of the gain's gradient.
const std::vector<std::pair<int64_t, int64_t>> kNormShapes = {
    {1, 1}, {70, 3}, {9, 17}, {65, 40}, {3, 264}, {2, 1024}, {2, 1025}, {3, 1288}, {530, 8}, {63, 8}, {1, 4104}};

TYPED_TEST(ProductLayers, RmsNormEqualsOracle) {
  using T = TypeParam;
  for (const auto& [N, C] : kNormShapes)
    for (const int64_t begin : kBegins) {
      const NormCase given(N, C, this->kDtype);
      in_all_schedules([&, N = N, C = C](Gpu& gpu) {
        gpu.begin_at(begin);
        T *const y = gpu.room<T>(N * C), *const dx = gpu.room<T>(N * C);
        float* const rstd = gpu.room<float>(N);
        const T *const x = gpu.up<T>(given.x), *const gain = gpu.up<T>(given.gain), *const dy = gpu.up<T>(given.dy);
        const T* const residual = gpu.up<T>(given.residual);
        float* const dgain = gpu.up<float>(given.dgain_before);
        float* const scratch = gpu.room<float>((N + kDeviceTokensPerNormSum - 1) / kDeviceTokensPerNormSum * C);
        const auto epsilon = static_cast<float>(given.epsilon);
        gpu.ran(product_ops<T>().rms_norm_forward(y, rstd, x, gain, N, C, epsilon, gpu.stream()));
        gpu.ran(
            product_ops<T>().rms_norm_backward(dx, dgain, dy, x, rstd, gain, residual, N, C, scratch, gpu.stream()));
        given.expect_y(gpu.down(y, N * C));
        given.expect_gradients(gpu.down(dx, N * C), gpu.down(dgain, C));
      });
    }
}

// dx lies over dy, over the residual, or apart: the same bits.
TYPED_TEST(ProductLayers, GradientsOfRmsNormMayLieOverTheirInputs) {
  using T = TypeParam;
  for (const auto& [N, C] : {std::pair<int64_t, int64_t>{5, 40}, {2, 1288}, {3, 17}}) {
    const NormCase given(N, C, this->kDtype);
    in_all_schedules([&, N = N, C = C](Gpu& gpu) {
      const T *const x = gpu.up<T>(given.x), *const gain = gpu.up<T>(given.gain);
      const float* const rstd = gpu.up<float>(oracle::rms_norm_forward<double>(given.x, given.gain, 1e-5).rstd);
      float* const scratch = gpu.room<float>(C);
      std::vector<double> apart;
      for (const int place : {0, 1, 2}) {
        T *const dy = gpu.up<T>(given.dy), *const residual = gpu.up<T>(given.residual);
        T* const dx = place == 0 ? gpu.room<T>(N * C) : place == 1 ? dy : residual;
        float* const dgain = gpu.up<float>(given.dgain_before);
        gpu.ran(
            product_ops<T>().rms_norm_backward(dx, dgain, dy, x, rstd, gain, residual, N, C, scratch, gpu.stream()));
        auto got = sum(gpu.down(dx, N * C), std::vector<double>(given.x.size()));
        const auto dgain_got = gpu.down(dgain, C);
        got.insert(got.end(), dgain_got.begin(), dgain_got.end());
        if (place == 0) apart = got;
        EXPECT_EQ(got, apart) << "place " << place;
      }
    });
  }
}

// Tokens lie `gap` elements apart, which nobody may touch: as q and k do between k and v.
TYPED_TEST(ProductLayers, RopeEqualsOracleAndTurnsBack) {
  using T = TypeParam;
  for (const int64_t D : {2, 6, 8, 24, 64})
    for (const int64_t gap : {0, 8, 5}) {
      const RopeCase given(/*B=*/2, /*T=*/D == 64 ? 9 : 1, /*H=*/3, D, this->kDtype);
      const int64_t N = given.B * given.T, row = given.H * D, stride = row + gap;
      std::vector<double> spread_out(static_cast<size_t>(N * stride), 7.0);
      for (int64_t i = 0; i < N * row; ++i)
        spread_out[static_cast<size_t>(i / row * stride + i % row)] = given.x[static_cast<size_t>(i)];
      in_all_schedules([&](Gpu& gpu) {
        const float *const c = gpu.up<float>(given.angles(false)), *const s = gpu.up<float>(given.angles(true));
        const auto turn = [&](T* x, float sign) {
          gpu.ran(product_ops<T>().rope(x, stride, c, s, N, given.T, given.H, D, sign, gpu.stream()));
          std::vector<double> packed;
          const auto got = gpu.down(x, N * stride);
          for (int64_t i = 0; i < N * stride; ++i)
            if (i % stride < row)
              packed.push_back(got[static_cast<size_t>(i)]);
            else
              EXPECT_EQ(got[static_cast<size_t>(i)], 7.0);
          return packed;
        };
        T *const x = gpu.up<T>(spread_out), *const dx = gpu.up<T>(spread_out);
        given.expect_turned(turn(x, 1.0f));
        given.expect_turned_both_ways(turn(x, -1.0f));
        given.expect_turned_back(turn(dx, -1.0f));
      });
    }
}

TYPED_TEST(ProductLayers, SwigluEqualsOracleAlsoForLargeInputs) {
  using T = TypeParam;
  for (const int64_t F : {1, 3, 17, 40, 1032})
    for (const double spread : {1.0, 30.0})
      for (const int64_t begin : kBegins) {
        const int64_t N = F > 100 ? 2 : 5;
        const SwigluCase given(N, F, spread, this->kDtype);
        in_all_schedules([&](Gpu& gpu) {
          gpu.begin_at(begin);
          const T *const gate_up = gpu.up<T>(given.gate_up()), *const dy = gpu.up<T>(given.dy);
          T *const y = gpu.room<T>(N * F), *const dgate_up = gpu.room<T>(2 * N * F);
          gpu.ran(product_ops<T>().swiglu_forward(y, gate_up, N, F, gpu.stream()));
          gpu.ran(product_ops<T>().swiglu_backward(dgate_up, dy, gate_up, N, F, gpu.stream()));
          given.expect_y(gpu.down(y, N * F));
          given.expect_dgate_up(gpu.down(dgate_up, 2 * N * F));
        });
      }
}

// The very bits that the CPU gives.
std::vector<double> sums_in_token_order(const EmbeddingCase& given) {
  std::vector<float> sums(given.dtable_before.begin(), given.dtable_before.end());
  for (int64_t i = 0; i < given.N * given.C; ++i)
    sums[static_cast<size_t>(given.tokens[static_cast<size_t>(i / given.C)] * given.C + i % given.C)] +=
        static_cast<float>(given.dy[static_cast<size_t>(i)]);
  return to_doubles(sums);
}

// Tokens are ordered by 8 bits of theirs at a time, 2048 together; 2100 of 11 kinds make long sums, 70000 kinds three
// rounds.
const struct {
  int64_t V, N, C, begin;
} kEmbeddings[] = {{1, 1, 1, 0},   {11, 200, 3, 1},  {11, 140, 40, 0},  {300, 30, 1032, 0},
                   {7, 30, 40, 1}, {11, 2100, 8, 0}, {70000, 300, 1, 1}};

TYPED_TEST(ProductLayers, EmbeddingEqualsOracle) {
  using T = TypeParam;
  for (const auto& [V, N, C, begin] : kEmbeddings) {
    const EmbeddingCase given(V, N, C, this->kDtype);
    in_all_schedules([&, V = V, N = N, C = C, begin = begin](Gpu& gpu) {
      const int32_t* const tokens = gpu.up<int32_t>(given.tokens);
      int32_t* const scratch = gpu.room<int32_t>(device_token_order_ints(N));
      gpu.begin_at(begin);
      const T *const table = gpu.up<T>(given.table), *const dy = gpu.up<T>(given.dy);
      float* const dtable = gpu.up<float>(given.dtable_before);
      T* const y = gpu.room<T>(N * C);
      gpu.ran(product_ops<T>().embedding_forward(y, table, tokens, N, C, gpu.stream()));
      gpu.ran(product_ops<T>().embedding_backward(dtable, dy, tokens, N, V, C, scratch, gpu.stream()));
      given.expect_y(gpu.down(y, N * C));
      const auto sums = gpu.down(dtable, V * C);
      given.expect_dtable(sums);
      EXPECT_EQ(sums, sums_in_token_order(given));
    });
  }
}

}  // namespace
}  // namespace annulus::cudasim
