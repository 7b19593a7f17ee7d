#include "model/ring_attention.h"

#include <algorithm>

#include "kernels/elementwise.h"

namespace annulus {
namespace {

// Memory of the transport as a tensor; without memory where there is no transport.
TensorView view_of(const std::byte* data, Dtype dtype, const AttentionDims& dims) {
  void* memory = const_cast<std::byte*>(data);
  return TensorView(memory, dtype, {kv_block_numel(dims)}, data ? Device::kCpu : Device::kShape);
}

TensorView gradient_view(const std::byte* data, const AttentionDims& dims) { return view_of(data, Dtype::kF32, dims); }

Timeline* timeline_of(const Transport* transport) { return transport ? transport->timeline() : nullptr; }

ProgressHook progress_of(Transport* transport) {
  if (!transport) return nullptr;
  return [transport] { transport->progress(); };
}

// Counted by what is really there: `block` holds keys and values, and `gradient` theirs where the pass is backward.
void count_visit(Transport* transport, const PassVisit& visit, int rank, const TensorView& block,
                 const TensorView* gradient) {
  if (!transport || !visit.has_work || visit.block == rank) return;
  transport->count_visit(block.bytes() + (gradient ? gradient->bytes() : 0), gradient != nullptr);
}

void pack_own_block(ConstTensorView k, ConstTensorView v, const Schedule& schedule, const PassPlan& plan,
                    Transport* transport) {
  if (!transport) return;
  const TensorView block = view_of(transport->begin(plan), k.dtype(), schedule.dims(schedule.rank));
  const Mark mark(transport->timeline(), Activity::kPack);
  pack_kv(block, k, v);
  transport->publish();
}

}  // namespace

TransportSizes transport_sizes(const Placement& keys, const RingHeads& n, int rank) {
  return {.own_block = n.kv_elements(keys.num_tokens(rank)) * size_of(n.dtype),
          .largest_block = n.kv_elements(keys.largest()) * size_of(n.dtype),
          .largest_gradient = n.kv_elements(keys.largest()) * size_of(Dtype::kF32),
          .alone = keys.num_ranks() == 1};
}

void ring_attention_forward(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k, ConstTensorView v,
                            const Schedule& schedule, const AttentionOptions& options, Transport* transport,
                            Arena& scratch) {
  const Arena::Scope scope(scratch);
  const AttentionDims own = schedule.dims(schedule.rank);
  const TensorView state = scratch.take({attention_state_floats(own, schedule.tiles.front())});
  const ProgressHook progress = progress_of(transport);
  pack_own_block(k, v, schedule, schedule.forward, transport);
  for (int t = 0; t < static_cast<int>(schedule.forward.visits.size()); ++t) {
    const PassVisit& visit = schedule.forward.visits[static_cast<size_t>(t)];
    const AttentionTiles& tiles = schedule.tiles[static_cast<size_t>(visit.block)];
    const AttentionDims dims = schedule.dims(visit.block);
    const TensorView kv = view_of(transport ? transport->block(t) : nullptr, q.dtype(), dims);
    const Mark mark(
        timeline_of(transport),
        {.activity = Activity::kVisit, .visit = t, .block = visit.block, .pairs = tiles.pairs, .bytes = kv.bytes()});
    if (visit.has_work || visit.block == schedule.rank)  // the own visit also writes the rows that see nothing
      attention_forward(out, lse, state, q, kv, dims, tiles, options, scratch, progress);
    count_visit(transport, visit, schedule.rank, kv, nullptr);
    if (transport) transport->release(t);
  }
  if (transport) transport->end();
}

void ring_attention_prefetch(ConstTensorView k, ConstTensorView v, const Schedule& schedule, Transport* transport) {
  pack_own_block(k, v, schedule, schedule.backward, transport);
}

void ring_attention_backward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView q, ConstTensorView out,
                             ConstTensorView lse, ConstTensorView dout, const Schedule& schedule,
                             const AttentionOptions& options, Transport* transport, Arena& scratch) {
  const Arena::Scope scope(scratch);
  const AttentionDims own = schedule.dims(schedule.rank);
  const TensorView delta = scratch.take({own.B, own.H, own.Tq});
  const ProgressHook progress = progress_of(transport);
  attention_delta(delta, out, dout);
  const bool rounds = dq.dtype() != Dtype::kF32;  // sums over visits stay f32 until the last
  const TensorView dq_sum = rounds ? scratch.take(dq.shape()) : dq;
  fill_zero(dq_sum);
  for (int t = 0; t < static_cast<int>(schedule.backward.visits.size()); ++t) {
    const PassVisit& visit = schedule.backward.visits[static_cast<size_t>(t)];
    const AttentionTiles& tiles = schedule.tiles[static_cast<size_t>(visit.block)];
    const AttentionDims dims = schedule.dims(visit.block);
    const TensorView kv = view_of(transport ? transport->block(t) : nullptr, q.dtype(), dims);
    const TensorView dkv = gradient_view(transport ? transport->gradient(t) : nullptr, dims);
    {
      const Mark mark(timeline_of(transport), {.activity = Activity::kVisit,
                                               .visit = t,
                                               .block = visit.block,
                                               .pairs = tiles.pairs,
                                               .bytes = kv.bytes() + dkv.bytes()});
      if (visit.has_work)
        attention_backward(dq_sum, dkv, q, kv, dout, lse, delta, dims, tiles, options, scratch, progress);
      else
        fill_zero(dkv);
    }
    count_visit(transport, visit, schedule.rank, kv, &dkv);
    if (!transport) continue;
    transport->release(t);
    const std::byte* earlier = transport->arrived(t);
    {
      const Mark mark(transport->timeline(), Activity::kSumGradients);
      if (earlier) add(dkv, gradient_view(earlier, dims), dkv);
      if (visit.block == schedule.rank) unpack_kv_gradient(dk, dv, dkv);
    }
    transport->hand_over(t);
  }
  if (rounds) convert(dq, dq_sum);
  if (transport) transport->end();
}

}  // namespace annulus
