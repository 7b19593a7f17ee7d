#include "runtime/batch.h"

#include "kernels/rope.h"
#include "model/ring_attention.h"

namespace annulus {
namespace {

Batch empty_batch(const SequenceLayout& layout, Arena& arena) {
  const Shape shape = {layout.num_sequences(), layout.num_tokens()};
  return {.tokens_BT = arena.take(shape, Dtype::kI32),
          .labels_BT = arena.take(shape, Dtype::kI32),
          .cosine_TD2 = layout.cosine(),
          .sine_TD2 = layout.sine(),
          .schedule = &layout.schedule()};
}

}  // namespace

SequenceLayout::SequenceLayout(int64_t sequence_length, int64_t num_sequences, const std::string& placement_kind,
                               double rope_base, const Transformer& model, RingRank ring)
    : sequence_length_(sequence_length),
      num_sequences_(num_sequences),
      half_width_(model.shape().head_dim / 2),
      rope_base_(rope_base),
      rank_(ring.rank),
      placement_(make_placement(placement_kind, sequence_length, ring.size)) {
  const RingHeads heads = model.ring_heads(num_sequences);
  schedule_ = make_flat_ring(placement_, placement_, causal_mask(sequence_length, sequence_length), heads, ring.rank,
                             attention_query_block());
  transport_sizes_ = annulus::transport_sizes(placement_, heads, ring.rank);
}

void SequenceLayout::prepare() {
  positions_ = placement_.positions(rank_);
  cosine_.resize(positions_.size() * static_cast<size_t>(half_width_));
  sine_.resize(cosine_.size());
  const Shape shape = {num_tokens(), half_width_};
  rope_angles(TensorView(cosine_.data(), Dtype::kF32, shape), TensorView(sine_.data(), Dtype::kF32, shape), positions_,
              rope_base_);
}

ConstTensorView SequenceLayout::table(const std::vector<float>& values) const {
  return ConstTensorView(values.data(), Dtype::kF32, {num_tokens(), half_width_});
}

Batch read_batch(const SequenceLayout& layout, const Dataset& data, std::span<const int64_t> first_tokens,
                 Arena& arena) {
  const Batch batch = empty_batch(layout, arena);
  if (batch.tokens_BT.shape_only()) return batch;
  int32_t *tokens = batch.tokens_BT.data<int32_t>(), *labels = batch.labels_BT.data<int32_t>();
  for (const int64_t first : first_tokens)
    for (const int64_t position : layout.positions()) {
      *tokens++ = data.token(first + position);
      *labels++ = data.token(first + position + 1);
    }
  return batch;
}

Batch batch_of_tokens(const SequenceLayout& layout, std::span<const int32_t> text, Arena& arena) {
  const Batch batch = empty_batch(layout, arena);
  if (batch.tokens_BT.shape_only()) return batch;
  for (int64_t t = 0; t < layout.num_tokens(); ++t) {
    batch.tokens_BT.data<int32_t>()[t] = text[static_cast<size_t>(layout.positions()[static_cast<size_t>(t)])];
    batch.labels_BT.data<int32_t>()[t] = -1;
  }
  return batch;
}

}  // namespace annulus
