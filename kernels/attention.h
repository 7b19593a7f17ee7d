#pragma once
// Flash attention for one visit of the ring (DESIGN: "state is carried, never merged"). q, k, v, out and dout are f32
// or bf16, all alike; the carried state, lse, delta and all gradients that are sums are f32. Products of bf16 are
// summed in f32; the weights of the softmax and their gradients are rounded to bf16 to be multiplied where the
// processor has instructions for that, and stay f32 where it has none.
#include <functional>
#include <string>

#include "kernels/attention_tiles.h"
#include "runtime/core/arena.h"
#include "runtime/core/tensor.h"

namespace annulus {

struct AttentionOptions {
  float softmax_scale;  // multiplies q.k, usually 1 / sqrt(Dqk)
};

/// Called between blocks of keys, so that a transport that makes no progress by itself can move its messages.
using ProgressHook = std::function<void()>;

/// Throws UserError unless K divides H and both widths are multiples of 8 up to 256; `where` starts the message.
void require_supported(const AttentionDims& dims, const std::string& where, ExitCode code = ExitCode::kUsage);

/// Query rows that the kernel takes together: what make_attention_tiles() must be given.
int64_t attention_query_block();

/// A packed block of keys and values: (B, K, Tk, Dqk) then (B, K, Tk, Dv), nothing else. It travels and is computed on
/// as it is. Values of bf16 lie in pairs of rows, the components of rows 2j and 2j + 1 taken alternately; a last row
/// without a partner is a row. The gradient of a block is f32, (B, K, Tk, Dqk) then (B, K, Tk, Dv), row by row.
int64_t kv_block_numel(const AttentionDims& dims);
void pack_kv(TensorView block, ConstTensorView k_BTKD, ConstTensorView v_BTKD);
/// Rounds to the dtype of dk and dv, f32 or bf16.
void unpack_kv_gradient(TensorView dk_BTKD, TensorView dv_BTKD, ConstTensorView block);

/// The carried state: for each query block, the unnormalised out, the reference maximum and the sum.
int64_t attention_state_floats(const AttentionDims& dims, const AttentionTiles& tiles);

/// One forward visit. q_BTHD may have strided tokens; `kv` is a packed block. Blocks marked `first` start their state,
/// those marked `last` write out_BTHD and lse_2BHT, the softmax sum in two parts: a reference near the row's largest
/// score, in units of log 2, and the sum of 2^(score - reference). Apart they give backward exact weights however large
/// the scores are. A row that saw no key has out 0 and sum 0.
void attention_forward(TensorView out_BTHD, TensorView lse_2BHT, TensorView state, ConstTensorView q_BTHD,
                       ConstTensorView kv, const AttentionDims& dims, const AttentionTiles& tiles,
                       const AttentionOptions& options, Arena& scratch, const ProgressHook& progress);

/// The natural logarithm of the softmax sum, rounded once; -infinity for a row that saw no key.
void natural_lse(TensorView lse_BHT, ConstTensorView lse_2BHT);

/// delta = rowsum(out * dout), of the global out.
void attention_delta(TensorView delta_BHT, ConstTensorView out_BTHD, ConstTensorView dout_BTHD);

/// One backward visit: adds to dq_BTHD, and *writes* the gradient of this visit's keys and values to `dkv`, both
/// f32. lse and delta are those of the whole sequence.
void attention_backward(TensorView dq_BTHD, TensorView dkv, ConstTensorView q_BTHD, ConstTensorView kv,
                        ConstTensorView dout_BTHD, ConstTensorView lse_2BHT, ConstTensorView delta_BHT,
                        const AttentionDims& dims, const AttentionTiles& tiles, const AttentionOptions& options,
                        Arena& scratch, const ProgressHook& progress);

}  // namespace annulus
