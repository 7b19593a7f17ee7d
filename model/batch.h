#pragma once
// One micro-batch as a rank sees it, and the memory and messages a step may use.
#include "comm/transport.h"
#include "model/schedule.h"
#include "runtime/core/arena.h"
#include "runtime/core/tensor.h"

namespace annulus {

/// This rank's tokens of B sequences. Positions are global: the angles are those of this rank's positions, and labels
/// were shifted before the sequences were cut (-1: predicts nothing).
struct Batch {
  TensorView tokens_BT, labels_BT;       // i32
  ConstTensorView cosine_TD2, sine_TD2;  // rotary angles
  const Schedule* schedule = nullptr;
};

struct Workspace {
  Arena& activations;    // what forward keeps for backward
  Arena& scratch;        // what an op needs for itself
  Transport* transport;  // null while memory is measured

  Timeline* timeline() const { return transport ? transport->timeline() : nullptr; }
};

}  // namespace annulus
