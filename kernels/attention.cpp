#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/attention_calls.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/parallel.h"

namespace annulus {
namespace {

constexpr int64_t kWidthStep = 8, kLargestWidth = 256;

cpu::TokenRows token_rows(ConstTensorView x_BTHD) {
  invariant(x_BTHD.rank() == 4 && x_BTHD.stride(3) == 1, "attention takes (B, T, heads, D) with unit stride in D");
  return {x_BTHD.data<float>(), x_BTHD.stride(0), x_BTHD.stride(1), x_BTHD.stride(2)};
}

void require_shape(ConstTensorView x, const Shape& shape, const char* name) {
  invariant(x.shape() == shape, "attention: ", name, " is ", x.shape().text(), ", expected ", shape.text());
}

cpu::Progress hook_for(const ProgressHook& progress) {
  if (!progress) return {};
  return {[](void* hook) { (*static_cast<const ProgressHook*>(hook))(); }, const_cast<ProgressHook*>(&progress)};
}

// Copies between (B, T, K, D) and (B, K, T, D), either way.
void copy_heads(float* by_head, const ConstTensorView& by_token, bool to_heads) {
  const int64_t B = by_token.dim(0), T = by_token.dim(1), K = by_token.dim(2), D = by_token.dim(3);
  float* tokens = const_cast<float*>(by_token.data<float>());
  cpu::parallel_for(B * K, [&](int64_t item, int) {
    const int64_t b = item / K, head = item % K;
    for (int64_t t = 0; t < T; ++t) {
      float* token = tokens + b * by_token.stride(0) + t * by_token.stride(1) + head * by_token.stride(2);
      float* row = by_head + (item * T + t) * D;
      std::memcpy(to_heads ? row : token, to_heads ? token : row, sizeof(float) * static_cast<size_t>(D));
    }
  });
}

}  // namespace

void require_supported(const AttentionDims& n, const std::string& where, ExitCode code) {
  require(code, n.K > 0 && n.H > 0 && n.H % n.K == 0, where, ": ", n.H, " query heads are not a multiple of ", n.K,
          " key/value heads (each key/value head serves an equal group of query heads)");
  for (const int64_t width : {n.Dqk, n.Dv})
    require(code, width > 0 && width % kWidthStep == 0 && width <= kLargestWidth, where, ": a head width of ", width,
            " is not supported; it must be a multiple of ", kWidthStep, " up to ", kLargestWidth, ", for example ",
            std::clamp((width + kWidthStep - 1) / kWidthStep * kWidthStep, kWidthStep, kLargestWidth));
}

int64_t attention_query_block() { return cpu::isa_kernels().query_block; }

int64_t kv_block_floats(const AttentionDims& n) { return n.B * n.K * n.Tk * (n.Dqk + n.Dv); }

void pack_kv(TensorView block, ConstTensorView k_BTKD, ConstTensorView v_BTKD) {
  invariant(block.numel() == k_BTKD.numel() + v_BTKD.numel(), "a packed block of the wrong size");
  if (block.shape_only() || block.numel() == 0) return;
  copy_heads(block.data<float>(), k_BTKD, true);
  copy_heads(block.data<float>() + k_BTKD.numel(), v_BTKD, true);
}

void unpack_kv(TensorView k_BTKD, TensorView v_BTKD, ConstTensorView block) {
  invariant(block.numel() == k_BTKD.numel() + v_BTKD.numel(), "a packed block of the wrong size");
  if (block.shape_only() || block.numel() == 0) return;
  float* packed = const_cast<float*>(block.data<float>());
  copy_heads(packed, k_BTKD, false);
  copy_heads(packed + k_BTKD.numel(), v_BTKD, false);
}

int64_t attention_state_floats(const AttentionDims& n, const AttentionTiles& tiles) {
  return n.B * n.H * static_cast<int64_t>(tiles.blocks.size()) * cpu::isa_kernels().forward_state_floats(n);
}

void attention_forward(TensorView out, TensorView lse, TensorView state, ConstTensorView q, ConstTensorView kv,
                       const AttentionDims& n, const AttentionTiles& tiles, const AttentionOptions& options,
                       Arena& scratch, const ProgressHook& progress) {
  require_shape(out, {n.B, n.Tq, n.H, n.Dv}, "out");
  require_shape(lse, {2, n.B, n.H, n.Tq}, "lse");
  require_shape(q, {n.B, n.Tq, n.H, n.Dqk}, "q");
  invariant(kv.numel() == kv_block_floats(n), "attention: a block of ", kv.numel(), " floats");
  invariant(state.numel() >= attention_state_floats(n, tiles), "attention: the state is too small");
  const cpu::IsaKernels& kernels = cpu::isa_kernels();
  const Arena::Scope scope(scratch);
  const TensorView work = scratch.take({cpu::num_threads(), kernels.forward_scratch_floats(n)});
  if (out.shape_only() || n.Tq == 0) return;
  const float* keys = kv.data<float>();
  kernels.attention_forward({.dims = n,
                             .scale = options.softmax_scale,
                             .q = token_rows(q),
                             .keys = keys,
                             .values = keys + n.B * n.K * n.Tk * n.Dqk,
                             .state = state.data<float>(),
                             .out = out.data<float>(),
                             .lse = lse.data<float>(),
                             .blocks = tiles.blocks.data(),
                             .num_blocks = static_cast<int64_t>(tiles.blocks.size()),
                             .slices = tiles.slices.data(),
                             .scratch = work.data<float>(),
                             .progress = hook_for(progress)});
}

void natural_lse(TensorView lse, ConstTensorView parts) {
  constexpr double kLn2 = 0.6931471805599453;
  require_shape(parts, {2, lse.dim(0), lse.dim(1), lse.dim(2)}, "lse");
  if (lse.shape_only()) return;
  const float *maximum = parts.data<float>(), *sum = maximum + lse.numel();
  for (int64_t i = 0; i < lse.numel(); ++i)
    lse.data<float>()[i] =
        static_cast<float>((static_cast<double>(maximum[i]) + std::log2(static_cast<double>(sum[i]))) * kLn2);
}

void attention_delta(TensorView delta, ConstTensorView out, ConstTensorView dout) {
  require_shape(dout, out.shape(), "dout");
  require_shape(delta, {out.dim(0), out.dim(2), out.dim(1)}, "delta");
  if (delta.shape_only()) return;
  cpu::isa_kernels().attention_delta(delta.data<float>(), token_rows(out), token_rows(dout), out.dim(0), out.dim(1),
                                     out.dim(2), out.dim(3));
}

void attention_backward(TensorView dq, TensorView dkv, ConstTensorView q, ConstTensorView kv, ConstTensorView dout,
                        ConstTensorView lse, ConstTensorView delta, const AttentionDims& n, const AttentionTiles& tiles,
                        const AttentionOptions& options, Arena& scratch, const ProgressHook& progress) {
  require_shape(dq, {n.B, n.Tq, n.H, n.Dqk}, "dq");
  require_shape(q, {n.B, n.Tq, n.H, n.Dqk}, "q");
  require_shape(dout, {n.B, n.Tq, n.H, n.Dv}, "dout");
  require_shape(lse, {2, n.B, n.H, n.Tq}, "lse");
  require_shape(delta, {n.B, n.H, n.Tq}, "delta");
  invariant(dq.stride(3) == 1 && dq.stride(2) == n.Dqk, "attention: the heads of a token of dq must be contiguous");
  invariant(kv.numel() == kv_block_floats(n) && dkv.numel() == kv.numel(), "attention: a block of the wrong size");
  const cpu::IsaKernels& kernels = cpu::isa_kernels();
  const Arena::Scope scope(scratch);
  const TensorView work = scratch.take({cpu::num_threads(), kernels.backward_scratch_floats(n)});
  const TensorView turns = scratch.take({n.B * n.K, (n.Tk + cpu::kKeyBlock - 1) / cpu::kKeyBlock}, Dtype::kI32);
  if (dq.shape_only()) return;
  std::memset(dkv.raw(), 0, static_cast<size_t>(dkv.bytes()));
  std::memset(turns.raw(), 0, static_cast<size_t>(turns.bytes()));
  const float* keys = kv.data<float>();
  float* dkeys = dkv.data<float>();
  const int64_t values_at = n.B * n.K * n.Tk * n.Dqk;
  kernels.attention_backward({.dims = n,
                              .scale = options.softmax_scale,
                              .q = token_rows(q),
                              .keys = keys,
                              .values = keys + values_at,
                              .dout = token_rows(dout),
                              .lse = lse.data<float>(),
                              .delta = delta.data<float>(),
                              .dq = dq.data<float>(),
                              .dq_batch_stride = dq.stride(0),
                              .dq_token_stride = dq.stride(1),
                              .dkeys = dkeys,
                              .dvalues = dkeys + values_at,
                              .blocks = tiles.blocks.data(),
                              .num_blocks = static_cast<int64_t>(tiles.blocks.size()),
                              .slices = tiles.slices.data(),
                              .scratch = work.data<float>(),
                              .turns = turns.data<int32_t>(),
                              .progress = hook_for(progress)});
}

}  // namespace annulus
