// annulus bench attention: the kernel's rate as a share of the peak of fused multiply-adds, measured in the same run.
#include <fmt/format.h>

#include <cmath>

#include "kernels/attention.h"
#include "kernels/cpu/isa.h"
#include "kernels/elementwise.h"
#include "launch/bench.h"
#include "runtime/core/rng.h"

namespace annulus {
namespace {

// One problem: N tokens, H heads of width D, causal or full.
class Problem {
 public:
  Problem(int64_t N, int64_t H, int64_t D, bool causal, Dtype dtype, bool growing)
      : dims_{1, N, N, H, H, D, D}, dtype_(dtype) {
    const Mask mask = causal ? causal_mask(N, N) : Mask{{0, N, 0, N, -kUnbounded, kUnbounded}};
    tiles_ = make_attention_tiles({{0, N, 1}}, {{0, N, 1}}, mask, attention_query_block());
    for (QueryBlock& block : tiles_.blocks) block.first = block.last = true;
    options_.softmax_scale = 1.0f / std::sqrt(static_cast<float>(D));
    for (const bool measure : {true, false}) {
      if (!measure) memory_.commit();
      const Arena::Scope scope(memory_);
      take();
      if (!measure) fill_inputs(growing);
      forward();
      backward();
    }
    take();
    fill_inputs(growing);
    forward();
    attention_delta(delta_, out_, dout_);
  }

  void forward() { attention_forward(out_, lse_, state_, q_, kv_, dims_, tiles_, options_, memory_, nullptr); }
  void backward() {
    attention_backward(dq_, dkv_, q_, kv_, dout_, lse_, delta_, dims_, tiles_, options_, memory_, nullptr);
  }
  double forward_flops() const { return 2.0 * static_cast<double>(tiles_.pairs * dims_.H * (dims_.Dqk + dims_.Dv)); }

 private:
  void take() {
    const auto& n = dims_;
    const Shape tokens = {n.B, n.Tq, n.H, n.Dqk};
    for (TensorView* x : {&q_, &k_, &v_, &dout_, &out_}) *x = memory_.take(tokens, dtype_);
    for (TensorView* x : {&dq_, &wide_}) *x = memory_.take(tokens);
    lse_ = memory_.take({2, n.B, n.H, n.Tq});
    delta_ = memory_.take({n.B, n.H, n.Tq});
    kv_ = memory_.take({kv_block_numel(n)}, dtype_);
    dkv_ = memory_.take({kv_block_numel(n)});
    state_ = memory_.take({attention_state_floats(n, tiles_)});
  }

  void fill_inputs(bool growing) {
    const std::pair<TensorView, std::string> inputs[] = {{q_, "q"}, {k_, "k"}, {v_, "v"}, {dout_, "dout"}};
    for (const auto& [x, name] : inputs) {
      const CounterRng rng(1, name);
      for (int64_t i = 0; i < x.numel(); ++i)
        wide_.data<float>()[i] = static_cast<float>(rng.normal(static_cast<uint64_t>(i)));
      if (growing && (name == "q" || name == "k")) make_growing(wide_, name == "k");
      convert(x, wide_);
    }
    for (const TensorView& x : {dq_, lse_, delta_}) fill_zero(x);
    pack_kv(kv_, k_, v_);
  }

  // Scores that grow by 0.1 from key to key, for every query: no maximum holds for a block of 128 keys.
  void make_growing(TensorView x, bool keys) const {
    const float width = static_cast<float>(dims_.Dqk);
    for (int64_t i = 0; i < x.numel(); ++i) {
      const int64_t token = i / (dims_.H * dims_.Dqk);
      x.data<float>()[i] = keys ? 0.1f * static_cast<float>(token) / (width * options_.softmax_scale) : 1.0f;
    }
  }

  AttentionDims dims_;
  Dtype dtype_;
  AttentionTiles tiles_;
  AttentionOptions options_{};
  Arena memory_{"benchmark"};
  TensorView q_, k_, v_, dout_, out_, dq_, wide_, lse_, delta_, kv_, dkv_, state_;
};

}  // namespace

void bench_attention(const BenchAttentionOptions& options) {
  cpu::choose_isa(options.isa);
  cpu::set_num_threads(options.threads);
  const auto lengths = options.lengths.empty() ? std::vector<int64_t>{2048, 4096, 8192} : options.lengths;
  const auto widths = options.widths.empty() ? std::vector<int64_t>{64, 128} : options.widths;
  for (const int64_t D : widths) require_supported({1, 1, 1, 1, 1, D, D}, "bench attention");
  BenchReport report(options);
  const Dtype dtype = bench_dtype(options);
  report.begin(measure_peak(dtype, options.threads));
  for (const int64_t D : widths)
    for (const int64_t N : lengths)
      for (const bool causal : {false, true}) {
        Problem problem(N, options.heads, D, causal, dtype, options.growing);
        const std::string shape = fmt::format("N{} H{} D{} {}", N, options.heads, D, causal ? "causal" : "full") +
                                  (options.growing ? " growing" : "");
        report.add("forward", shape, problem.forward_flops(),
                   time_calls(options.repeat, options.threads, [&] { problem.forward(); }));
        report.add("backward", shape, 2.5 * problem.forward_flops(),
                   time_calls(options.repeat, options.threads, [&] { problem.backward(); }));
      }
  report.finish();
}

}  // namespace annulus
