#pragma once
// This rank's part of a micro-batch: which positions, which schedule, which tokens.
#include <span>
#include <string>
#include <vector>

#include "model/batch.h"
#include "model/transformer.h"
#include "runtime/dataset.h"

namespace annulus {

/// Where in which ring a rank is; of a group, or of one that is only planned.
struct RingRank {
  RingRank(const Group& ring) : rank(ring.rank()), size(ring.size()) {}
  RingRank(int this_rank, int num_ranks) : rank(this_rank), size(num_ranks) {}
  int rank, size;
};

/// All of a micro-batch that does not depend on its tokens: made once for each pair of sequence length and number of
/// sequences, before the first step. What has an entry for every token is only made by prepare(), so that a run can be
/// planned in little memory and time.
class SequenceLayout {
 public:
  SequenceLayout(int64_t sequence_length, int64_t num_sequences, const std::string& placement, double rope_base,
                 const Transformer& model, RingRank ring);

  int64_t sequence_length() const { return sequence_length_; }
  int64_t num_sequences() const { return num_sequences_; }
  int64_t num_tokens() const { return placement_.num_tokens(rank_); }  // of one sequence on this rank
  /// Fills positions and rotary tables. Before the first batch with memory.
  void prepare();
  const std::vector<int64_t>& positions() const { return positions_; }
  const Schedule& schedule() const { return schedule_; }
  const TransportSizes& transport_sizes() const { return transport_sizes_; }
  int64_t table_bytes() const { return cosine().bytes() + sine().bytes(); }
  ConstTensorView cosine() const { return table(cosine_); }
  ConstTensorView sine() const { return table(sine_); }

 private:
  ConstTensorView table(const std::vector<float>& values) const;

  int64_t sequence_length_, num_sequences_, half_width_;
  double rope_base_;
  int rank_;
  Placement placement_;
  std::vector<int64_t> positions_;
  Schedule schedule_;
  TransportSizes transport_sizes_;
  std::vector<float> cosine_, sine_;
};

/// The batch of the sequences that start at first_tokens[b] (one more token than sequence_length is read: labels are
/// the following tokens). Tensors come from `arena`; without memory while it measures.
Batch read_batch(const SequenceLayout& layout, const Dataset& data, std::span<const int64_t> first_tokens,
                 Arena& arena);

/// The batch with these tokens (B = 1, positions 0..) and no labels, for sampling.
Batch batch_of_tokens(const SequenceLayout& layout, std::span<const int32_t> tokens, Arena& arena);

}  // namespace annulus
