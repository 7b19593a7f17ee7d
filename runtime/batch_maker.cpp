#include "runtime/batch_maker.h"

#include <algorithm>

#include "kernels/rope.h"
#include "model/ring_attention.h"
#include "runtime/core/error.h"
#include "runtime/shares.h"

namespace annulus {
namespace {

TransportSizes larger(const TransportSizes& a, const TransportSizes& b) {
  return {std::max(a.own_block, b.own_block), std::max(a.largest_block, b.largest_block),
          std::max(a.largest_gradient, b.largest_gradient), a.alone || b.alone};
}

}  // namespace

BatchMaker::BatchMaker(const Config& config, const Dataset& data, const Transformer& model, RingRank ring)
    : config_(config), data_(data), model_(model), ring_(ring) {}

void BatchMaker::expect_all(int replica, int num_replicas) {
  const int64_t S = config_.data.sequence_length;
  for_pieces(share_of(config_.data.global_batch, replica, num_replicas), config_.train.micro_batch,
             [&](int64_t, int64_t count) { expect(S, count); });
  if (config_.train.validate_every == 0) return;
  for (const ValidationRows& rows : rows_to_validate(replica, num_replicas))
    expect(rows.length, static_cast<int64_t>(rows.first_tokens.size()));
}

std::vector<ValidationRows> BatchMaker::rows_to_validate(int replica, int num_replicas) const {
  const int64_t largest_share = (config_.data.global_batch + num_replicas - 1) / num_replicas;
  return validation_rows(data_.validation(), config_.data.sequence_length, replica, num_replicas,
                         std::min(config_.train.micro_batch, largest_share));
}

void BatchMaker::expect(int64_t length, int64_t num_rows) {
  if (packs()) {
    longest_packed_ = std::max(longest_packed_, length);
    most_packed_tokens_ = std::max(most_packed_tokens_, length * num_rows);
    return;
  }
  const auto key = std::pair(length, num_rows);
  if (!layouts_.contains(key))
    layouts_.emplace(
        key, SequenceLayout(length, num_rows, config_.parallel.placement, config_.model.rope_base, model_, ring_));
}

void BatchMaker::prepare() {
  for (auto& [key, layout] : layouts_) layout.prepare();
}

void BatchMaker::measure(Arena& arena, const std::function<void(const Batch&, int64_t)>& body) const {
  for (const auto& [key, layout] : layouts_) {
    const Arena::Scope scope(arena);
    body(read_batch(layout, data_, {}, arena), key.first);
  }
  if (most_packed_tokens_ == 0) return;
  const Placement placement = largest_packed();
  // Only sizes matter, so it is enough that every rank's own visit has some work. All pairs of such a row's many
  // segments would be far more than those of any row that occurs.
  Mask some_work;
  for (int rank = 0; rank < ring_.size; ++rank) {
    const int64_t first = placement.segments(rank).front().begin;
    some_work.push_back({first, first + 1, first, first + 1, 0, 0});
  }
  const Schedule schedule =
      make_flat_ring(placement, placement, some_work, model_.ring_heads(1), ring_.rank, attention_query_block());
  const Arena::Scope scope(arena);
  body(empty_packed_batch(placement.num_tokens(ring_.rank), schedule, arena), longest_packed_);
}

Placement BatchMaker::largest_packed() const {
  return largest_packed_placement(most_packed_tokens_, ring_.size, attention_query_block());
}

TransportSizes BatchMaker::transport_sizes() const {
  TransportSizes sizes;
  for (const auto& [key, layout] : layouts_) sizes = larger(sizes, layout.transport_sizes());
  if (most_packed_tokens_ > 0)
    sizes = larger(sizes, annulus::transport_sizes(largest_packed(), model_.ring_heads(1), ring_.rank));
  return sizes;
}

const Schedule* BatchMaker::largest_schedule() const {
  return layouts_.empty() ? nullptr : &layouts_.rbegin()->second.schedule();
}

int64_t BatchMaker::table_bytes() const {
  int64_t bytes = 0;
  for (const auto& [key, layout] : layouts_) bytes += layout.table_bytes();
  return bytes;
}

MicroBatch BatchMaker::make(int64_t length, std::span<const int64_t> first_tokens, Arena& arena) const {
  if (packs()) return make_packed(length, first_tokens, arena);
  const auto rows = static_cast<int64_t>(first_tokens.size());
  const auto found = layouts_.find({length, rows});
  invariant(found != layouts_.end(), "a batch of ", rows, " sequences of ", length, " tokens was not planned");
  const SequenceLayout& layout = found->second;
  MicroBatch made;
  made.batch = read_batch(layout, data_, first_tokens, arena);
  made.positions = layout.positions();
  made.flops = static_cast<double>(rows) * model_.flops_per_sequence(length, layout.schedule().visible_pairs);
  return made;
}

std::vector<BatchMaker::Piece> BatchMaker::pieces_of_row(int64_t length, int64_t first_token) const {
  std::vector<Piece> pieces;
  const int64_t row_end = first_token + length;
  for (int64_t at = first_token; at < row_end;) {
    const int64_t end = data_.document_end(at, row_end);
    const bool document_goes_on = data_.document_end(end - 1, end + 1) != end;
    const int64_t position = config_.data.restart_positions ? 0 : at - first_token;
    pieces.push_back({at, end - at, position, document_goes_on});
    at = end;
  }
  return pieces;
}

int64_t BatchMaker::num_labels(int64_t length, int64_t first_token) const {
  if (!packs()) return length;
  int64_t labels = 0;
  for (const Piece& piece : pieces_of_row(length, first_token)) labels += piece.length - (piece.last_has_label ? 0 : 1);
  return labels;
}

Batch BatchMaker::empty_packed_batch(int64_t num_tokens, const Schedule& schedule, Arena& arena) const {
  const Shape tokens = {1, num_tokens}, angles = {num_tokens, model_.shape().head_dim / 2};
  return {.tokens_BT = arena.take(tokens, Dtype::kI32),
          .labels_BT = arena.take(tokens, Dtype::kI32),
          .cosine_TD2 = arena.take(angles),
          .sine_TD2 = arena.take(angles),
          .schedule = &schedule};
}

MicroBatch BatchMaker::make_packed(int64_t length, std::span<const int64_t> first_tokens, Arena& arena) const {
  std::vector<Piece> pieces;
  std::vector<int64_t> lengths;
  int64_t row = 0;
  for (const int64_t first : first_tokens) {
    for (const Piece& piece : pieces_of_row(length, first)) {
      pieces.push_back(piece);
      lengths.push_back(piece.length);
    }
    row += length;
  }
  const PackingCosts costs = {model_.flops_per_sequence(1, 0), model_.flops_per_sequence(0, 1)};
  const PackedRow packed = pack_documents(lengths, config_.parallel.placement, ring_.size, costs);
  MicroBatch made;
  made.packed_schedule = std::make_unique<const Schedule>(make_flat_ring(
      packed.placement, packed.placement, packed.mask, model_.ring_heads(1), ring_.rank, attention_query_block()));
  made.flops = model_.flops_per_sequence(row, made.packed_schedule->visible_pairs);

  const std::vector<int64_t> rows = packed.placement.positions(ring_.rank);
  const TensorView tokens = arena.take({1, static_cast<int64_t>(rows.size())}, Dtype::kI32);
  const TensorView labels = arena.take(tokens.shape(), Dtype::kI32);
  std::vector<size_t> order(pieces.size());  // of the pieces in the packed row
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return packed.begin[a] < packed.begin[b]; });
  for (size_t t = 0; t < rows.size(); ++t) {
    const auto behind = std::upper_bound(order.begin(), order.end(), rows[t],
                                         [&](int64_t at, size_t piece) { return at < packed.begin[piece]; });
    const size_t which = *(behind - 1);
    const Piece& piece = pieces[which];
    const int64_t within = rows[t] - packed.begin[which], token = piece.first_token + within;
    const bool has_label = within + 1 < piece.length || piece.last_has_label;
    tokens.data<int32_t>()[t] = data_.token(token);
    labels.data<int32_t>()[t] = has_label ? data_.token(token + 1) : -1;
    made.packed_positions.push_back(piece.position + within);
  }
  made.positions = made.packed_positions;
  const Shape angles = {tokens.dim(1), model_.shape().head_dim / 2};
  const TensorView cosine = arena.take(angles), sine = arena.take(angles);
  rope_angles(cosine, sine, made.positions, config_.model.rope_base);
  made.batch = {.tokens_BT = tokens,
                .labels_BT = labels,
                .cosine_TD2 = cosine,
                .sine_TD2 = sine,
                .schedule = made.packed_schedule.get()};
  return made;
}

}  // namespace annulus
