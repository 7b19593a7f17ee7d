#include "model/mlp.h"

#include <cmath>

#include "kernels/swiglu.h"
#include "model/token_tiles.h"

namespace annulus {

Mlp::Mlp(ParameterStore& store, const std::string& prefix, int64_t width, int64_t ffn, double residual_scale,
         int64_t tile, bool keeps_activations)
    : gate_up_proj_(store, {{prefix + "/gate_proj", ffn}, {prefix + "/up_proj", ffn}}, width,
                    1.0 / std::sqrt(static_cast<double>(width))),
      down_proj_(store, {{prefix + "/down_proj", width}}, ffn, residual_scale / std::sqrt(static_cast<double>(ffn))),
      tile_(tile),
      keeps_activations_(keeps_activations) {}

Mlp::Tile Mlp::tile_of(const Saved& saved, int64_t first, int64_t count, Arena& scratch) const {
  const ConstTensorView x = saved.x_NC.narrow(0, first, count);
  if (keeps_activations_) return {x, saved.gate_up.narrow(0, first, count), saved.act_NF.narrow(0, first, count)};
  return {x, scratch.take({count, gate_up_proj_.out()}, x.dtype()), scratch.take({count, down_proj_.in()}, x.dtype())};
}

void Mlp::activate(const Tile& tile, Arena& scratch) const {
  gate_up_proj_.forward(tile.gate_up, tile.x, scratch);
  swiglu_forward(tile.act, tile.gate_up);
}

TensorView Mlp::forward(ConstTensorView x, Saved& saved, Workspace& workspace) const {
  const int64_t N = x.dim(0);
  saved.x_NC = x;
  if (keeps_activations_) {
    saved.gate_up = workspace.activations.take({N, gate_up_proj_.out()}, x.dtype());
    saved.act_NF = workspace.activations.take({N, down_proj_.in()}, x.dtype());
  }
  const TensorView y = workspace.scratch.take({N, down_proj_.out()}, x.dtype());
  for_token_tiles(N, tile_, x.shape_only(), [&](int64_t first, int64_t count) {
    const Arena::Scope scope(workspace.scratch);
    const Tile tile = tile_of(saved, first, count, workspace.scratch);
    activate(tile, workspace.scratch);
    down_proj_.forward(y.narrow(0, first, count), tile.act, workspace.scratch);
  });
  return y;
}

TensorView Mlp::backward(ConstTensorView dy, const Saved& saved, Workspace& workspace) const {
  const TensorView dx = workspace.scratch.take(saved.x_NC.shape(), dy.dtype());
  for_token_tiles(dx.dim(0), tile_, dx.shape_only(), [&](int64_t first, int64_t count) {
    const Arena::Scope scope(workspace.scratch);
    const Tile tile = tile_of(saved, first, count, workspace.scratch);
    if (!keeps_activations_) activate(tile, workspace.scratch);
    const TensorView dact = workspace.scratch.take(tile.act.shape(), dy.dtype());
    down_proj_.backward(dact, dy.narrow(0, first, count), tile.act, workspace.scratch);
    const TensorView dgate_up = workspace.scratch.take(tile.gate_up.shape(), dy.dtype());
    swiglu_backward(dgate_up, dact, tile.gate_up);
    gate_up_proj_.backward(dx.narrow(0, first, count), dgate_up, tile.x, workspace.scratch);
  });
  return dx;
}

}  // namespace annulus
