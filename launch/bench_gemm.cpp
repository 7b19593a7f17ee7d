// annulus bench gemm: matrix products at the shapes of transformers, as a share of the peak measured in the same run.
#include <fmt/format.h>

#include "kernels/cpu/isa.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "launch/bench.h"

namespace annulus {
namespace {

// The three products of one linear layer of M tokens: y = x W^T, dx = dy W, dW += dy^T x.
class LinearLayer {
 public:
  LinearLayer(int64_t M, int64_t in, int64_t out, Dtype dtype) : M_(M), in_(in), out_(out), dtype_(dtype) {
    take();
    for (const auto& product : products()) product.run();
    memory_.reset();
    memory_.commit();
    take();
    for (const TensorView& x : {x_, dy_, weight_}) fill_for_benchmark(x);
    fill_zero(dweight_);
  }

  struct Product {
    const char* name;
    std::function<void()> run;
  };
  std::vector<Product> products() {
    constexpr auto kNo = Transpose::kNo, kYes = Transpose::kYes;
    return {{"forward NT", [this] { gemm(y_, x_, kNo, weight_, kYes, Write::kReplace, memory_); }},
            {"dx NN", [this] { gemm(dx_, dy_, kNo, weight_, kNo, Write::kReplace, memory_); }},
            {"dW TN", [this] { gemm(dweight_, dy_, kYes, x_, kNo, Write::kAdd, memory_); }}};
  }
  double flops() const { return 2.0 * static_cast<double>(M_) * static_cast<double>(in_) * static_cast<double>(out_); }

 private:
  void take() {
    for (TensorView* x : {&x_, &dx_}) *x = memory_.take({M_, in_}, dtype_);
    for (TensorView* y : {&y_, &dy_}) *y = memory_.take({M_, out_}, dtype_);
    weight_ = memory_.take({out_, in_}, dtype_);
    dweight_ = memory_.take({out_, in_});
  }

  int64_t M_, in_, out_;
  Dtype dtype_;
  Arena memory_{"benchmark"};
  TensorView x_, dx_, y_, dy_, weight_, dweight_;
};

}  // namespace

void bench_gemm(const BenchGemmOptions& options) {
  cpu::choose_isa(options.isa);
  cpu::set_num_threads(options.threads);
  const Dtype dtype = bench_dtype(options);
  const auto tokens = options.tokens.empty() ? std::vector<int64_t>{64, 512, 2048, 8192} : options.tokens;
  const auto widths = options.widths.empty() ? std::vector<int64_t>{384, 768, 2048} : options.widths;
  BenchReport report(options);
  report.begin(measure_peak(dtype, options.threads));
  for (const int64_t C : widths) {
    const int64_t F = (8 * C / 3 + 32) / 64 * 64;
    for (const int64_t M : tokens)
      for (const auto& [in, out] : {std::pair{C, 3 * C}, {C, C}, {C, 2 * F}, {F, C}}) {
        LinearLayer layer(M, in, out, dtype);
        for (const auto& [name, run] : layer.products())
          report.add(name, fmt::format("M{} in{} out{}", M, in, out), layer.flops(),
                     time_calls(options.repeat, options.threads, run));
      }
  }
  report.finish();
}

}  // namespace annulus
