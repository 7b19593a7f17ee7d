#pragma once
// From rows of the dataset to what a ring computes at a time. Where every row has the same mask, placement and schedule
// are made once for each shape; where rows hold several documents, they are packed anew for each micro-batch.
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "model/batch.h"
#include "model/packing.h"
#include "model/transformer.h"
#include "runtime/batch.h"
#include "runtime/config.h"
#include "runtime/dataset.h"
#include "runtime/validation_rows.h"

namespace annulus {

struct MicroBatch {
  Batch batch;
  std::span<const int64_t> positions;  // of this rank's T tokens in their rows of the dataset
  double flops = 0.0;                  // forward and backward, of all ranks of the ring

  // What the views above show of a packed micro-batch.
  std::unique_ptr<const Schedule> packed_schedule;
  std::vector<int64_t> packed_positions;
};

class BatchMaker {
 public:
  BatchMaker(const Config& config, const Dataset& data, const Transformer& model, RingRank ring);

  /// Every shape that training and validation of ring `replica` of `num_replicas` will ask for. Before the first
  /// make().
  void expect_all(int replica, int num_replicas);

  /// The validation part as this ring takes it: no more rows at a time than in training, so that it needs no more
  /// memory.
  std::vector<ValidationRows> rows_to_validate(int replica, int num_replicas) const;

  /// Fills the tables of these shapes. After measure(), before the first make().
  void prepare();

  /// body(batch, length) for each shape that is expected, without memory; of packed rows, for the one that takes most.
  void measure(Arena& arena, const std::function<void(const Batch& batch, int64_t length)>& body) const;
  TransportSizes transport_sizes() const;    // for all of them
  int64_t table_bytes() const;               // rotary angles that are kept
  const Schedule* largest_schedule() const;  // of the rows that are not packed; nullptr where all are

  /// This rank's part of the rows that begin at first_tokens. One token more than `length` is read: labels are the
  /// following tokens, and the last of a document has none.
  MicroBatch make(int64_t length, std::span<const int64_t> first_tokens, Arena& arena) const;

  /// Predicted tokens of such a row.
  int64_t num_labels(int64_t length, int64_t first_token) const;

 private:
  struct Piece {  // of one document, inside one row
    int64_t first_token, length, position;
    bool last_has_label;
  };
  void expect(int64_t length, int64_t num_rows);
  std::vector<Piece> pieces_of_row(int64_t length, int64_t first_token) const;
  bool packs() const { return config_.data.document_mask && data_.has_documents(); }
  Batch empty_packed_batch(int64_t num_tokens, const Schedule& schedule, Arena& arena) const;
  MicroBatch make_packed(int64_t length, std::span<const int64_t> first_tokens, Arena& arena) const;
  Placement largest_packed() const;

  const Config& config_;
  const Dataset& data_;
  const Transformer& model_;
  RingRank ring_;
  std::map<std::pair<int64_t, int64_t>, SequenceLayout> layouts_;  // by length and number of rows
  int64_t most_packed_tokens_ = 0, longest_packed_ = 0;            // of a micro-batch; of its rows
};

}  // namespace annulus
