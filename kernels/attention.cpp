#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/attention_calls.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/parallel.h"

namespace annulus {
namespace {

constexpr int64_t kWidthStep = 8, kLargestWidth = 256;

template <class T>
cpu::TokenRows<T> token_rows(ConstTensorView x_BTHD) {
  invariant(x_BTHD.rank() == 4 && x_BTHD.stride(3) == 1, "attention takes (B, T, heads, D) with unit stride in D");
  return {x_BTHD.data<T>(), x_BTHD.stride(0), x_BTHD.stride(1), x_BTHD.stride(2)};
}

template <class T>
const cpu::ElementKernels<T>& kernels_over() {
  if constexpr (std::is_same_v<T, Bf16>)
    return cpu::isa_kernels().bf16;
  else
    return cpu::isa_kernels().f32;
}

// body(T{}) for the element type of the model's tensors.
template <class Body>
auto with_element(Dtype dtype, Body&& body) {
  invariant(dtype == Dtype::kF32 || dtype == Dtype::kBf16, "attention over ", name_of(dtype));
  return dtype == Dtype::kBf16 ? body(Bf16{}) : body(float{});
}

void require_dtypes(std::initializer_list<ConstTensorView> model, std::initializer_list<ConstTensorView> f32) {
  for (const ConstTensorView& x : model)
    invariant(x.dtype() == model.begin()->dtype(), "attention over ", name_of(model.begin()->dtype()), " and ",
              name_of(x.dtype()));
  for (const ConstTensorView& x : f32)
    invariant(x.dtype() == Dtype::kF32, "attention keeps its sums in f32, not ", name_of(x.dtype()));
}

void require_shape(ConstTensorView x, const Shape& shape, const char* name) {
  invariant(x.shape() == shape, "attention: ", name, " is ", x.shape().text(), ", expected ", shape.text());
}

cpu::Progress hook_for(const ProgressHook& progress) {
  if (!progress) return {};
  return {[](void* hook) { (*static_cast<const ProgressHook*>(hook))(); }, const_cast<ProgressHook*>(&progress)};
}

// (B, T, K, D) to (B, K, T, D).
template <class T>
void copy_by_head(T* by_head, ConstTensorView by_token) {
  const int64_t tokens = by_token.dim(1), K = by_token.dim(2), D = by_token.dim(3);
  const cpu::TokenRows<T> rows = token_rows<T>(by_token);
  cpu::parallel_for(by_token.dim(0) * K, [&](int64_t head, int) {
    for (int64_t t = 0; t < tokens; ++t)
      std::memcpy(by_head + (head * tokens + t) * D, rows.row(head / K, t, head % K),
                  sizeof(T) * static_cast<size_t>(D));
  });
}

// (B, K, T, D) to (B, T, K, D), rounded to the tokens' type.
template <class T>
void convert_by_token(TensorView by_token, const float* by_head) {
  const int64_t tokens = by_token.dim(1), K = by_token.dim(2), D = by_token.dim(3);
  const cpu::TokenRows<T> rows = token_rows<T>(by_token);
  cpu::parallel_for(by_token.dim(0) * K, [&](int64_t head, int) {
    kernels_over<T>().from_f32(const_cast<T*>(rows.row(head / K, 0, head % K)), rows.token_stride,
                               by_head + head * tokens * D, D, tokens, D);
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

int64_t kv_block_numel(const AttentionDims& n) { return n.B * n.K * n.Tk * (n.Dqk + n.Dv); }

void pack_kv(TensorView block, ConstTensorView k, ConstTensorView v) {
  invariant(block.numel() == k.numel() + v.numel(), "a packed block of the wrong size");
  require_dtypes({block, k, v}, {});
  if (block.shape_only() || block.numel() == 0) return;
  with_element(k.dtype(), [&]<class T>(T) {
    copy_by_head(block.data<T>(), k);
    kernels_over<T>().pack_values(block.data<T>() + k.numel(), token_rows<T>(v), v.dim(0), v.dim(2), v.dim(1),
                                  v.dim(3));
  });
}

void unpack_kv_gradient(TensorView dk, TensorView dv, ConstTensorView block) {
  invariant(block.numel() == dk.numel() + dv.numel(), "a packed gradient of the wrong size");
  require_dtypes({dk, dv}, {block});
  if (block.shape_only() || block.numel() == 0) return;
  with_element(dk.dtype(), [&]<class T>(T) {
    convert_by_token<T>(dk, block.data<float>());
    convert_by_token<T>(dv, block.data<float>() + dk.numel());
  });
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
  require_dtypes({q, kv, out}, {lse, state});
  invariant(kv.numel() == kv_block_numel(n), "attention: a block of ", kv.numel(), " elements");
  invariant(state.numel() >= attention_state_floats(n, tiles), "attention: the state is too small");
  with_element(q.dtype(), [&]<class T>(T) {
    const cpu::ElementKernels<T>& kernels = kernels_over<T>();
    const Arena::Scope scope(scratch);
    const TensorView work = scratch.take({cpu::num_threads(), kernels.forward_scratch_floats(n)});
    if (out.shape_only() || n.Tq == 0) return;
    const T* keys = kv.data<T>();
    kernels.attention_forward({.dims = n,
                               .scale = options.softmax_scale,
                               .q = token_rows<T>(q),
                               .keys = keys,
                               .values = keys + n.B * n.K * n.Tk * n.Dqk,
                               .state = state.data<float>(),
                               .out = out.data<T>(),
                               .lse = lse.data<float>(),
                               .blocks = tiles.blocks.data(),
                               .num_blocks = static_cast<int64_t>(tiles.blocks.size()),
                               .slices = tiles.slices.data(),
                               .scratch = work.data<float>(),
                               .progress = hook_for(progress)});
  });
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
  require_dtypes({out, dout}, {delta});
  if (delta.shape_only()) return;
  with_element(out.dtype(), [&]<class T>(T) {
    kernels_over<T>().attention_delta(delta.data<float>(), token_rows<T>(out), token_rows<T>(dout), out.dim(0),
                                      out.dim(1), out.dim(2), out.dim(3));
  });
}

void attention_backward(TensorView dq, TensorView dkv, ConstTensorView q, ConstTensorView kv, ConstTensorView dout,
                        ConstTensorView lse, ConstTensorView delta, const AttentionDims& n, const AttentionTiles& tiles,
                        const AttentionOptions& options, Arena& scratch, const ProgressHook& progress) {
  require_shape(dq, {n.B, n.Tq, n.H, n.Dqk}, "dq");
  require_shape(q, {n.B, n.Tq, n.H, n.Dqk}, "q");
  require_shape(dout, {n.B, n.Tq, n.H, n.Dv}, "dout");
  require_shape(lse, {2, n.B, n.H, n.Tq}, "lse");
  require_shape(delta, {n.B, n.H, n.Tq}, "delta");
  require_dtypes({q, kv, dout}, {dq, dkv, lse, delta});
  invariant(dq.stride(3) == 1 && dq.stride(2) == n.Dqk, "attention: the heads of a token of dq must be contiguous");
  invariant(kv.numel() == kv_block_numel(n) && dkv.numel() == kv.numel(), "attention: a block of the wrong size");
  with_element(q.dtype(), [&]<class T>(T) {
    const cpu::ElementKernels<T>& kernels = kernels_over<T>();
    const Arena::Scope scope(scratch);
    const TensorView work = scratch.take({cpu::num_threads(), kernels.backward_scratch_floats(n)});
    const TensorView turns = scratch.take({n.B * n.K, (n.Tk + cpu::kKeyBlock - 1) / cpu::kKeyBlock}, Dtype::kI32);
    if (dq.shape_only()) return;
    std::memset(dkv.raw(), 0, static_cast<size_t>(dkv.bytes()));
    std::memset(turns.raw(), 0, static_cast<size_t>(turns.bytes()));
    const T* keys = kv.data<T>();
    float* dkeys = dkv.data<float>();
    const int64_t values_at = n.B * n.K * n.Tk * n.Dqk;
    kernels.attention_backward({.dims = n,
                                .scale = options.softmax_scale,
                                .q = token_rows<T>(q),
                                .keys = keys,
                                .values = keys + values_at,
                                .dout = token_rows<T>(dout),
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
  });
}

}  // namespace annulus
