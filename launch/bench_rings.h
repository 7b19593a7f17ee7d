#pragma once
// What `annulus bench ring` compares: the same attention, done by rings of different ranks or without communication.
#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"
#include "comm/transport.h"
#include "model/schedule.h"
#include "runtime/core/arena.h"

namespace annulus {

/// One sequence of S tokens; causal, in zigzag.
struct BenchProblem {
  int64_t S, H, K, D;
  Dtype dtype;
};

/// One way to compute it: tensors of a rank, and the ring that it is part of.
class BenchRing {
 public:
  /// `transport`: as choose_transport() takes it, or "private": the visits of the ring, without the ring. `with_work`:
  /// otherwise no query sees any key, and blocks and gradients only travel. Collective; `ring` must outlive it.
  BenchRing(const BenchProblem& problem, Group& ring, const std::string& transport, bool with_work);

  void forward();
  void backward();

  /// Of this rank, in one forward pass; of all ranks.
  double flops() const;
  double flops_of_all() const;
  const Transport& transport() const { return *transport_; }

 private:
  void take(Arena& memory);
  void fill();
  void pass_forward(Transport* transport);
  void pass_backward(Transport* transport);

  const BenchProblem problem_;
  Group& ring_;
  Placement placement_;
  Schedule schedule_;
  Arena memory_{"tensors of the benchmark"}, scratch_{"scratch of the benchmark"};
  TensorView q_, k_, v_, dout_, out_, lse_, dq_, dk_, dv_;
  std::vector<TensorView> copies_;  // of every rank's block, where the transport is private
  std::unique_ptr<Transport> transport_;
};

}  // namespace annulus
