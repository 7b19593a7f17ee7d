// annulus bench ops: what is bound by memory, as a share of the rate of a plain copy measured in the same run.
#include <fmt/format.h>

#include "kernels/adamw.h"
#include "kernels/cpu/isa.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "launch/bench.h"

namespace annulus {
namespace {

constexpr int64_t kWidth = 1024, kFfn = 2752, kHeadWidth = 64, kVocab = 50304;
constexpr int64_t kTokensPerLoss = 16, kParametersPerToken = 2048;  // so that all tensors are of some 100 MiB

struct BenchOperand {
  Shape shape;
  Dtype dtype = Dtype::kF32;
  int passes = 1;  // how often the op must move it: once to read or to write it, twice to change it
};

struct Op {
  const char* name;
  std::vector<BenchOperand> operands;
  std::function<void(const std::vector<TensorView>&, Arena& scratch)> run;
};

std::vector<Op> ops(int64_t N, Dtype model) {
  using Tensors = std::vector<TensorView>;
  constexpr Dtype kInt = Dtype::kI32, kF32 = Dtype::kF32;
  const bool f32 = model == kF32;
  const int64_t loss_tokens = (N + kTokensPerLoss - 1) / kTokensPerLoss, parameter_count = N * kParametersPerToken;
  const Shape rows = {N, kWidth}, heads = {1, N, kWidth / kHeadWidth, kHeadWidth};
  const Shape angles = {N, kHeadWidth / 2}, logits = {loss_tokens, kVocab};
  const BenchOperand gate_up = {{N, 2 * kFfn}, model}, act = {{N, kFfn}, model};
  const BenchOperand x = {rows, model}, gain = {{kWidth}, model}, per_token = {{N}}, parameters = {{parameter_count}};
  const BenchOperand changed_parameters = {{parameter_count}, kF32, 2}, tokens = {{N}, kInt};
  return {
      {"rms_norm",
       {x, per_token, x, gain},
       [](const Tensors& t, Arena&) { rms_norm_forward(t[0], t[1], t[2], t[3], 1e-5f); }},
      {"rms_norm backward",
       {{rows, model, 2}, {{kWidth}}, x, x, per_token, gain},
       [](const Tensors& t, Arena& s) { rms_norm_backward(t[0], t[1], t[2], t[3], t[4], t[5], t[0], s); }},
      {"rope",
       {{heads, model, 2}, {angles}, {angles}},
       [](const Tensors& t, Arena&) { rope_forward(t[0], t[1], t[2]); }},
      {"swiglu", {act, gate_up}, [](const Tensors& t, Arena&) { swiglu_forward(t[0], t[1]); }},
      {"swiglu backward", {gate_up, act, gate_up}, [](const Tensors& t, Arena&) { swiglu_backward(t[0], t[1], t[2]); }},
      {"add", {x, x, x}, [](const Tensors& t, Arena&) { add(t[0], t[1], t[2]); }},
      {"cross_entropy",
       {{{loss_tokens}}, {{loss_tokens}, kInt}, {logits, kF32, f32 ? 2 : 1}, {f32 ? Shape{0} : logits, model}},
       [f32](const Tensors& t, Arena&) {
         cross_entropy(t[0], f32 ? t[2] : t[3], t[2], t[1], LossGradient::kYes, 1.0f);
       }},
      {"embedding", {x, x, tokens}, [](const Tensors& t, Arena&) { embedding_forward(t[0], t[1], t[2]); }},
      {"embedding backward",
       {{rows, kF32, 2}, x, tokens},
       [](const Tensors& t, Arena&) { embedding_backward(t[0], t[1], t[2]); }},
      {"sum_of_squares", {parameters}, [](const Tensors& t, Arena&) { sum_of_squares(t[0]); }},
      {"adamw",
       {changed_parameters,
        changed_parameters,
        changed_parameters,
        parameters,
        {f32 ? Shape{0} : Shape{parameter_count}, model}},
       [f32](const Tensors& t, Arena&) {
         adamw(f32 ? t[0] : t[4], t[0], t[1], t[2], t[3], {1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, 10});
       }},
  };
}

// Tokens: every row of an embedding of as many rows once, in an order that no hardware foresees.
void fill(TensorView x) {
  if (x.dtype() != Dtype::kI32) return fill_for_benchmark(x);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<int32_t>()[i] = static_cast<int32_t>(i * 7919 % x.numel());
}

void measure(const Op& op, const BenchOptions& options, BenchReport& report) {
  Arena memory("benchmark");
  std::vector<TensorView> tensors;
  double bytes = 0.0;
  for (const bool measuring : {true, false}) {
    tensors.clear();
    for (const BenchOperand& operand : op.operands) tensors.push_back(memory.take(operand.shape, operand.dtype));
    if (!measuring) break;
    op.run(tensors, memory);
    memory.reset();
    memory.commit();
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    fill(tensors[i]);
    bytes += static_cast<double>(tensors[i].bytes() * op.operands[i].passes);
  }
  report.add(op.name, fmt::format("{:.0f} MiB", bytes / (1 << 20)), bytes,
             time_calls(options.repeat, options.threads, [&] { op.run(tensors, memory); }));
}

}  // namespace

void bench_ops(const BenchOpsOptions& options) {
  cpu::choose_isa(options.isa);
  cpu::set_num_threads(options.threads);
  const Dtype dtype = bench_dtype(options);
  BenchReport report(options);
  report.begin(measure_copy_rate(options.threads));
  for (const Op& op : ops(options.tokens, dtype)) measure(op, options, report);
  report.finish();
}

}  // namespace annulus
