#pragma once
// Attention of this rank's queries to the whole sequence: the only ring loop. It executes a schedule visit by visit and
// knows neither the transport nor the placement.
#include "comm/transport.h"
#include "kernels/attention.h"
#include "model/schedule.h"

namespace annulus {

/// What the transport of a ring must hold for these schedules: the largest own block, block and gradient.
TransportSizes transport_sizes(const Placement& keys, const RingHeads& heads, int rank);

/// out_BTHD (B, T, H, Dv) and f32 lse_2BHT (kernels/attention.h) from q_BTHD, k_BTKD, v_BTKD of this rank's tokens; all
/// f32 or all bf16, as the schedule's hops were counted. A row that sees no key gives out 0, its sum is 0. Collective
/// over the ring. On shape-only tensors `transport` may be null and only the scratch memory is measured.
void ring_attention_forward(TensorView out_BTHD, TensorView lse_2BHT, ConstTensorView q_BTHD, ConstTensorView k_BTKD,
                            ConstTensorView v_BTKD, const Schedule& schedule, const AttentionOptions& options,
                            Transport* transport, Arena& scratch);

/// Starts the backward pass: packs the own keys and values and lets the first hop run while the caller computes dout.
void ring_attention_prefetch(ConstTensorView k_BTKD, ConstTensorView v_BTKD, const Schedule& schedule,
                             Transport* transport);

/// After ring_attention_prefetch(): writes dq_BTHD, dk_BTKD, dv_BTKD of this rank's tokens, sums in f32 that are
/// rounded once where the model is bf16. out and lse are those of the forward pass. Collective over the ring.
void ring_attention_backward(TensorView dq_BTHD, TensorView dk_BTKD, TensorView dv_BTKD, ConstTensorView q_BTHD,
                             ConstTensorView out_BTHD, ConstTensorView lse_2BHT, ConstTensorView dout_BTHD,
                             const Schedule& schedule, const AttentionOptions& options, Transport* transport,
                             Arena& scratch);

}  // namespace annulus
