#include "model/mlp.h"

#include <cmath>

#include "kernels/swiglu.h"

namespace annulus {

Mlp::Mlp(ParameterStore& store, const std::string& prefix, int64_t width, int64_t ffn, double residual_scale)
    : gate_up_proj_(store, {{prefix + "/gate_proj", ffn}, {prefix + "/up_proj", ffn}}, width,
                    1.0 / std::sqrt(static_cast<double>(width))),
      down_proj_(store, {{prefix + "/down_proj", width}}, ffn, residual_scale / std::sqrt(static_cast<double>(ffn))) {}

TensorView Mlp::forward(ConstTensorView x, Saved& saved, Workspace& workspace) const {
  const int64_t N = x.dim(0);
  saved = {x, workspace.activations.take({N, gate_up_proj_.out()}), workspace.activations.take({N, down_proj_.in()})};
  gate_up_proj_.forward(saved.gate_up, x, workspace.scratch);
  swiglu_forward(saved.act_NF, saved.gate_up);
  const TensorView y = workspace.scratch.take({N, down_proj_.out()});
  down_proj_.forward(y, saved.act_NF, workspace.scratch);
  return y;
}

TensorView Mlp::backward(ConstTensorView dy, const Saved& saved, Workspace& workspace) const {
  const TensorView dx = workspace.scratch.take(saved.x_NC.shape());
  const Arena::Scope scope(workspace.scratch);
  const TensorView dact = workspace.scratch.take(saved.act_NF.shape());
  down_proj_.backward(dact, dy, saved.act_NF, workspace.scratch);
  const TensorView dgate_up = workspace.scratch.take(saved.gate_up.shape());
  swiglu_backward(dgate_up, dact, saved.gate_up);
  gate_up_proj_.backward(dx, dgate_up, saved.x_NC, workspace.scratch);
  return dx;
}

}  // namespace annulus
